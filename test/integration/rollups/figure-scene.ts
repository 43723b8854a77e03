import type { Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { callEnd } from '../../support/call-ends';
import { appendPrice, changeAllCalls } from '../../support/prices';
import type { Random } from '../../support/ledger/random';
import type { Settlement } from '../../../src/domain/call';

const MEASURES = [
  'calls',
  'failed_calls',
  'prompt_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'completion_tokens',
  'reasoning_tokens',
  'cost',
  'priced_calls',
  'unpriced_calls',
  'latency_count',
  'latency_ms',
  'latency_histogram',
  'first_token_count',
  'first_token_ms',
  'first_token_histogram',
];
/** The cubes, and what their keys are in the entries. */
const CUBES: Record<string, string> = {
  usage_daily: 'organization_id, day, model, provider, upstream, scenario, status, entry_at',
  usage_daily_by_project: 'organization_id, day, project_id, model, entry_at',
  usage_daily_by_user: 'organization_id, day, user_id, model, entry_at',
  usage_daily_overall: 'day, model, provider, entry_at',
  usage_quarter_hourly: 'organization_id, quarter, model, entry_at',
};

/**
 * In one snapshot: cells of any cube, together with what is not yet folded, that are not the sum of all rows and all
 * price changes. None: every figure is exact.
 */
export async function wrongCells(db: Db): Promise<unknown[]> {
  return (await look(db)).wrong;
}

/** As well as how many batches waited in that snapshot. */
export async function look(db: Db): Promise<{ wrong: unknown[]; open: number }> {
  const sums = MEASURES.map((name) => `sum(${name}) AS ${name}`).join(', ');
  const isSome = MEASURES.map((name) => `sum(${name}) <> 0`).join(' OR ');
  const rows = (view: string, columns: string, where = 'true'): string =>
    `SELECT ${columns}, ${MEASURES.join(', ')} FROM ${view} WHERE ${where}`;
  const found: unknown[] = [];
  let open = 0;
  await db.transaction(async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    open = (await tx.query<{ n: number }>('SELECT count(*)::int AS n FROM usage_batches'))[0]!.n;
    for (const [cube, keys] of Object.entries(CUBES)) {
      // Older quarters of an hour are not kept.
      const recent =
        cube === 'usage_quarter_hourly'
          ? `WHERE quarter >= date_trunc('day', weir.now(), 'UTC') - interval '60 days'`
          : '';
      const truth = `SELECT ${keys}, ${sums} FROM (${rows('weir.row_entries', keys)} UNION ALL ${rows('weir.price_entries', keys)}) AS e ${recent} GROUP BY ${keys} HAVING ${isSome}`;
      const unfolded = [
        rows('weir.row_entries', keys, 'batch_id IN (SELECT id FROM usage_batches)'),
        rows('weir.price_entries', keys, 'occurred_at >= folded_before'),
      ];
      const kept = `SELECT ${keys}, ${sums} FROM (${rows(cube, keys.replace('quarter', 'at AS quarter'))} UNION ALL ${unfolded.join(' UNION ALL ')}) AS e ${recent} GROUP BY ${keys} HAVING ${isSome}`;
      found.push(
        ...(await tx.query(
          `SELECT '${cube}' AS cube, x.* FROM ((${truth} EXCEPT ${kept}) UNION ALL (${kept} EXCEPT ${truth})) AS x LIMIT 3`,
        )),
      );
    }
  });
  return { wrong: found, open };
}

export const openBatches = async (db: Db): Promise<number> =>
  (await db.query<{ n: number }>('SELECT count(*)::int AS n FROM usage_batches'))[0]!.n;
export const totalOf = async (db: Db, cube = 'usage_daily'): Promise<{ calls: number; cost: string }> =>
  (
    await db.query<{ calls: number; cost: string }>(
      `SELECT coalesce(sum(calls), 0)::int AS calls, coalesce(sum(cost), 0)::text AS cost FROM ${cube}`,
    )
  )[0]!;

/**
 * The end of some call: of one of a few organisations, users, projects and models, made a moment ago or, more seldom,
 * within the last two days.
 */
export function anyEnd(random: Random): Settlement {
  const organization = random.int(0, 2);
  const cost = random.chance(0.2) ? null : `0.00${random.int(1_000, 9_999)}`;
  return callEnd({
    id: newId('call'),
    occurredAt: new Date(Date.now() - random.int(0, random.chance(0.8) ? 900_000 : 2 * 86_400_000)).toISOString(),
    organizationId: `org_${organization}`,
    userId: `usr_${organization}_${random.int(0, 3)}`,
    projectId: random.chance(0.5) ? `prj_${organization}_${random.int(0, 2)}` : null,
    model: `model-${random.int(0, 2)}`,
    servedModel: `model-${random.int(0, 2)}`,
    provider: random.chance(0.5) ? 'provider' : null,
    status: random.pick(['COMPLETED', 'COMPLETED', 'STOPPED', 'FAILED'] as const),
    latencyMs: random.chance(0.9) ? random.int(0, 5_000) : null,
    timeToFirstTokenMs: random.chance(0.5) ? random.int(0, 900) : null,
    tokens: {
      uncachedPrompt: random.int(0, 1_000),
      cacheRead: random.int(0, 50),
      cacheWrite: random.int(0, 9),
      cacheWriteOneHour: 0,
      output: random.int(0, 500),
      reasoning: random.int(0, 90),
    },
    cost:
      cost === null
        ? null
        : { input: cost, cacheRead: '0', cacheWrite: '0', output: '0', reasoning: '0', request: '0', total: cost },
    priceBook: 0,
  });
}

/** A price that is in force for all calls of a model which were settled so far. Dollars per token. */
export async function changePrice(
  db: Db,
  {
    book,
    model,
    input,
    from = '2020-01-01T00:00:00Z',
    to = 'infinity',
    previous = null,
  }: { book: number; model: string; input: string; from?: string; to?: string; previous?: number | null },
): Promise<void> {
  await db.transaction(async (tx) => {
    await appendPrice(tx, { number: book, model, effectiveFrom: from, rates: { input, output: '0' } });
    await changeAllCalls(tx, { book, model, from, to, previous });
  });
}
