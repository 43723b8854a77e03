import { Client } from 'pg';

/** What the backends of one database were doing at a moment (milliseconds since 1970). */
export interface Sample {
  at: number;
  busy: string[];
}

/** Milliseconds between two looks. */
const EVERY_MS = 4;
// Our own look is left out. A wait event of none means that the backend computes, or waits for a processor.
const LOOK = `SELECT coalesce(nullif(application_name, ''), backend_type) || ' ' || coalesce(wait_event_type || ':' || wait_event, 'CPU') AS what
  FROM pg_stat_activity
  WHERE pid <> pg_backend_pid() AND (state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
    OR backend_type IN ('checkpointer', 'autovacuum worker', 'walwriter') AND wait_event_type IS DISTINCT FROM 'Activity')`;

/**
 * Runs in a process of its own, so that it looks while the one that is measured is busy. Ends, and tells what it saw,
 * when it is sent a message.
 */
async function watch(url: string): Promise<void> {
  const samples: Sample[] = [];
  let ended = false;
  process.on('message', () => (ended = true));
  const client = new Client({ connectionString: url, application_name: 'watch' });
  await client.connect();
  process.send!('ready');
  while (!ended) {
    const at = Date.now();
    const { rows } = await client.query<{ what: string }>({ name: 'look', text: LOOK });
    samples.push({ at, busy: rows.map((row) => row.what) });
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  await client.end();
  process.send!(samples, () => process.exit());
}

if (require.main === module) void watch(process.argv[2]!);
