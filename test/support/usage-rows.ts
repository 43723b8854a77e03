import type { Db } from '../../src/database/pool';
import { waitFor } from './wait';

export interface UsageRow {
  id: string;
  status: string;
  usage_source: string;
  error_code: string | null;
  finish_reason: string | null;
  streamed: boolean;
  model: string;
  served_model: string;
  user_id: string;
  prompt_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  cost: string | null;
  raw_usage: unknown;
  latency_ms: number | null;
  time_to_first_token_ms: number | null;
}

/**
 * Waits until nothing is in flight any more and gives all usage rows as they were first booked, oldest first. What
 * every test of a call ends with:
 * a call that was admitted has exactly one such row, whatever happened. What is true after corrections: `llm_calls`.
 */
export async function settledRows(db: Db): Promise<UsageRow[]> {
  await waitFor(async () => (await db.query('SELECT id FROM calls_in_flight')).length === 0, {
    what: 'the last call in flight to be settled',
  });
  return db.query<UsageRow>(`SELECT * FROM llm_usage WHERE kind = 'CALL' ORDER BY occurred_at, id`);
}

/** The one row of a call; fails when there is none or more than one. */
export async function settledRow(db: Db, callId: string): Promise<UsageRow> {
  const rows = (await settledRows(db)).filter((row) => row.id === callId);
  if (rows.length !== 1) throw new Error(`${rows.length} usage rows for ${callId}`);
  return rows[0]!;
}
