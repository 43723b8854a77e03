import type { Db } from '../../../src/database/pool';
import { Decimal, canonicalDecimal } from '../../../src/lib/decimal';
import type { Admission } from '../../../src/domain/call';
import { Model, type LogEntry } from './model';
import { rowKey } from './model-budgets';
import type { Failed } from './replica';

/** Replays what the database did on the model, and compares what is in the tables now: by then every call has ended. */
export async function checkSchedule(
  db: Db,
  organizationId: string,
  replies: ReadonlyMap<string, Admission | Failed>,
): Promise<{ faults: string[]; counts: Record<string, number> }> {
  const log = await db.query<Omit<LogEntry, 'at' | 'until'> & { at: Date; until: Date | null }>(
    'SELECT seq, kind, at, until, input, output FROM proof.log WHERE organization_id = $1 ORDER BY seq',
    [organizationId],
  );
  const model = new Model();
  model.replay(
    log.map((entry) => ({ ...entry, at: entry.at.toISOString(), until: (entry.until ?? entry.at).toISOString() })),
  );
  const faults = [...model.faults];
  const same = (what: string, said: Iterable<string>, expected: Iterable<string>): void => {
    const [a, b] = [new Set(said), new Set(expected)];
    for (const one of a) if (!b.has(one)) faults.push(`${what}: ${one} is there, and the model does not have it`);
    for (const one of b) if (!a.has(one)) faults.push(`${what}: ${one} is missing`);
  };

  const askedAgain = new Set(
    log
      .filter(({ kind }) => kind === 'admit')
      .flatMap(({ input }) => (input as any[]).filter((row) => row.again).map((row) => row.id as string)),
  );
  for (const [id, reply] of replies) {
    const isWritten = model.settled.has(id) || model.running.has(id);
    if ('failed' in reply) continue;
    // Asked twice and refused the second time, its first try may still come through: nobody's call then, which recovery
    // ends without cost.
    if (isWritten && askedAgain.has(id)) continue;
    if ((reply.kind === 'ADMITTED') !== isWritten)
      faults.push(
        `the caller of ${id} was told ${reply.kind}, and the log ${isWritten ? 'has it' : 'does not have it'}`,
      );
  }

  const inFlight = await db.query<{ id: string }>('SELECT id FROM calls_in_flight WHERE organization_id = $1', [
    organizationId,
  ]);
  same(
    'calls in flight',
    inFlight.map(({ id }) => id),
    [],
  );

  const periods = await db.query<{ key: string; spent: string; held: string; overage: string }>(
    `SELECT p.budget_id || '|' || p.starts_on AS key, p.spent, p.held, p.overage FROM budget_periods AS p JOIN budgets AS b ON b.id = p.budget_id WHERE b.organization_id = $1`,
    [organizationId],
  );
  const line = (key: string, spent: string, held: string, overage: string): string =>
    `${key} spent ${spent} held ${held} overage ${overage}`;
  const isEmpty = (text: string): boolean => text.endsWith(' spent 0 held 0 overage 0');
  same(
    'periods',
    periods
      .map((row) =>
        line(row.key, canonicalDecimal(row.spent), canonicalDecimal(row.held), canonicalDecimal(row.overage)),
      )
      .filter((text) => !isEmpty(text)),
    [...model.budgets.periods.values()]
      .map((row) => line(row.key, row.spent.toString(), row.held.toString(), row.overage.toString()))
      .filter((text) => !isEmpty(text)),
  );
  for (const row of periods)
    if (canonicalDecimal(row.held) !== '0') faults.push(`${row.key} holds ${row.held}, and nothing runs`);

  const usage = await db.query<{ call: string; calls: string; rows: string; cost: string }>(
    `SELECT coalesce(corrects_id, id) AS call, count(*) FILTER (WHERE kind = 'CALL') AS calls, sum(sign) AS rows, coalesce(sum(cost), 0) AS cost FROM llm_usage WHERE organization_id = $1 GROUP BY 1`,
    [organizationId],
  );
  same(
    'usage rows',
    usage.map((row) => `${row.call} ${row.calls} ${row.rows} ${canonicalDecimal(row.cost)}`),
    [...model.settled.values()].map((call) => `${call.id} 1 1 ${call.cost.toString()}`),
  );

  // What is booked on a row is the sum of the calls that say so: the model knows of budgets that were filled in, and
  // this is the other way round.
  const booked = new Map<string, Decimal>();
  for (const call of model.settled.values())
    for (const key of call.on) booked.set(key, (booked.get(key) ?? Decimal.ZERO).plus(call.cost));
  for (const row of periods) {
    const sum = booked.get(row.key) ?? Decimal.ZERO;
    if (sum.toString() !== canonicalDecimal(row.spent))
      faults.push(`${row.key} has spent ${row.spent}, and its calls sum up to ${sum.toString()}`);
  }

  const keys = await db.query<{ name: string; call_id: string; ended: boolean }>(
    `SELECT user_id || ' ' || key AS name, call_id, stored IS NOT NULL AND expires_at IS NOT NULL AS ended FROM idempotency_keys WHERE user_id LIKE $1`,
    [`usr\\_${organizationId.split('_')[1]}\\_%`],
  );
  same(
    'keys',
    keys.map((row) => `${row.name} ${row.call_id} ${row.ended}`),
    [...model.keys].map(([name, key]) => `${name} ${key.callId} ${key.ended}`),
  );

  const alerts = await db.query<{ budget_id: string; day: string; period: string; percent: number }>(
    'SELECT a.budget_id, a.starts_on::text AS day, a.period, a.percent FROM budget_alerts AS a JOIN budgets AS b ON b.id = a.budget_id WHERE b.organization_id = $1',
    [organizationId],
  );
  same(
    'alerts',
    alerts.map((row) => `${rowKey(row.budget_id, row.day)}|${row.period}|${row.percent}`),
    model.budgets.alerts,
  );

  const conversations = await db.query<{ id: string; head_id: string | null }>(
    'SELECT id, head_id FROM conversations WHERE organization_id = $1',
    [organizationId],
  );
  same(
    'heads',
    conversations.filter((row) => row.head_id).map((row) => `${row.id} ${row.head_id}`),
    [...model.heads].map(([id, head]) => `${id} ${head}`),
  );
  const messages = await db.query<{ id: string }>(
    'SELECT m.id FROM messages AS m JOIN conversations AS v ON v.id = m.conversation_id WHERE v.organization_id = $1',
    [organizationId],
  );
  same(
    'messages',
    messages.map(({ id }) => id),
    model.messages,
  );
  return { faults, counts: { ...model.counts, transactions: log.length } };
}
