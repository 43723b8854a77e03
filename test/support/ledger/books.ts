import type { Db } from '../../../src/database/pool';
import { type TestUser, type World, createUser, createWorld } from '../factories';
import type { FakeProvider } from '../provider';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import type { Tally } from './load';
import { appendPrice } from '../prices';

export interface Books {
  sent: number;
  replies: number;
  replayed: number;
  upstreamCalls: number;
  rows: number;
  lostRows: number;
  corrections: number;
  /** Replies, streams that had begun, and calls that the upstream saw, without a usage row. */
  lost: number;
  /** Calls with more than one row that is not a correction, and labels that the upstream saw more than once. */
  doubled: number;
  /** Calls in flight, period rows that hold something, keys whose call is said to run. */
  left: number;
  /** Period rows whose spent is not the sum of the usage rows. */
  wrong: number;
}

/** An organisation with users, a price, and a budget of each scope that is far from spent. */
export async function openBooks(db: Db, people: number): Promise<{ world: World; users: TestUser[] }> {
  const world = await createWorld(db);
  const users = await Promise.all(
    Array.from({ length: people }, () =>
      createUser(db, { organizationId: world.organizationId, planId: world.planId }),
    ),
  );
  await appendPrice(db, { number: 1, model: 'test-chat', rates: { input: '0.0000031', output: '0.0000107' } });
  await db.query(
    `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) SELECT 'bud_' || t.subject, $1, t.scope, t.subject, 'MONTH', 1000
     FROM (SELECT 'ORGANIZATION' AS scope, $1 AS subject UNION ALL SELECT 'USER', unnest($2::text[]) UNION ALL SELECT 'API_TOKEN', unnest($3::text[])) AS t`,
    [world.organizationId, users.map(({ id }) => id), users.map(({ tokenId }) => tokenId)],
  );
  return { world, users };
}

const leftIn = async (db: Db): Promise<number> => {
  const [row] = await db.query<{ left: string }>(
    `SELECT (SELECT count(*) FROM calls_in_flight) + (SELECT count(*) FROM budget_periods WHERE held <> 0) + (SELECT count(*) FROM idempotency_keys WHERE expires_at IS NULL) AS left`,
  );
  return Number(row!.left);
};

/** Waits until nothing runs any more, and compares what clients, the upstream and the database have seen. */
export async function closeBooks(
  db: Db,
  provider: FakeProvider,
  tally: Tally,
  deadlineMs = SLOW_DEADLINE_MS,
): Promise<Books> {
  await waitFor(async () => (await leftIn(db)) === 0, { deadlineMs, what: 'every call to end' }).catch(() => {});
  const rows = await db.query<{ id: string; label: string; status: string }>(
    `SELECT id, agent AS label, status FROM llm_usage WHERE kind = 'CALL'`,
  );
  const corrections = await db.query<{ count: string }>(`SELECT count(*) FROM llm_usage WHERE kind = 'CORRECTION'`);
  const ids = new Set(rows.map(({ id }) => id));
  const labels = new Set(rows.map(({ label }) => label));
  const seen = provider.requests
    .filter(({ path }) => path === '/v1/chat/completions')
    .map(({ body }) => String(body.messages.at(-1).content));
  const known = [...tally.replies.values(), ...tally.started.values()];
  const wrong = await db.query(
    `SELECT p.budget_id FROM budget_periods AS p JOIN budgets AS b ON b.id = p.budget_id
     WHERE p.spent <> (SELECT coalesce(sum(u.cost), 0) FROM llm_usage AS u WHERE b.subject_id IN (u.organization_id, u.user_id, u.token_id) AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at)`,
  );
  return {
    sent: tally.sent,
    replies: tally.replies.size,
    replayed: tally.replayed,
    upstreamCalls: seen.length,
    rows: rows.length,
    lostRows: rows.filter(({ status }) => status === 'LOST').length,
    corrections: Number(corrections[0]!.count),
    lost: known.filter((id) => !ids.has(id)).length + seen.filter((label) => !labels.has(label)).length,
    doubled: rows.length - ids.size + (seen.length - new Set(seen).size),
    left: await leftIn(db),
    wrong: wrong.length,
  };
}
