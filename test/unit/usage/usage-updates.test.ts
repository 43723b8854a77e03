import { UsageUpdates } from '../../../src/services/usage/usage-updates';
import { NO_USAGE } from '../../../src/services/usage/usage-report.store';
import type { Role, Viewer } from '../../../src/domain/principal';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';

const viewer = (userId: string, role: Role = 'MEMBER', organizationId = 'org_1'): Viewer => ({
  userId,
  organizationId,
  role,
  planId: 'pln',
  tokenId: null,
  sessionId: null,
  expiresAtMs: null,
});
const EVERY_MS = 30;

/** Figures by scope, who asked for them, and how often. */
function bench(options: { lookEveryMs?: number } = {}) {
  const calls: Record<string, number> = {};
  const asked: { scope: string; atMs: number }[] = [];
  const people = new Map<string, { organizationId: string; role: Role }>();
  const logger = memoryLogger();
  const faults: Error[] = [];
  let hold: Promise<void> = Promise.resolve();
  const updates = new UsageUpdates({
    usage: {
      todayOf: async ({ userId, organizationId, role }) => {
        const scope = role === 'OPERATOR' ? 'all' : role === 'MEMBER' ? userId : organizationId;
        asked.push({ scope, atMs: performance.now() });
        const fault = faults.shift();
        if (fault) throw fault;
        await hold;
        return { ...NO_USAGE, calls: calls[scope] ?? 0 };
      },
    },
    store: {
      lookers: async (users) =>
        new Map(users.flatMap(({ userId: id }) => (people.has(id) ? [[id, people.get(id)!]] : []))),
    },
    logger,
    everyMs: EVERY_MS,
    ...options,
  });
  const listen = (who: Viewer) => {
    if (!people.has(who.userId)) people.set(who.userId, who);
    const events = updates.subscribe(who);
    const got: { calls: number; atMs: number }[] = [];
    void (async () => {
      for await (const figures of events) got.push({ calls: figures.calls, atMs: performance.now() });
    })();
    return { got, leave: () => events.return!(), counts: () => got.map(({ calls: n }) => n) };
  };
  const rounds = (scope: string): number => asked.filter((one) => one.scope === scope).length;
  return {
    updates,
    calls,
    asked,
    people,
    logger,
    faults,
    listen,
    rounds,
    holdOn: (until: Promise<void>) => void (hold = until),
  };
}

it('asks once for each scope and interval, however many listen, and tells each of them at once', async () => {
  const { listen, rounds, asked } = bench();
  const streams = [
    ...Array.from({ length: 50 }, (_, i) => listen(viewer(`usr_${i}`, i % 2 ? 'ADMIN' : 'ANALYST'))),
    ...Array.from({ length: 50 }, () => listen(viewer('usr_m'))),
  ];
  streams.push(listen(viewer('usr_o1', 'OPERATOR')), listen(viewer('usr_o2', 'OPERATOR', 'org_2')));
  await waitFor(() => streams.every(({ got }) => got.length === 1));
  expect(asked.map(({ scope }) => scope).sort()).toEqual(['all', 'org_1', 'usr_m']);
  await waitFor(() => rounds('org_1') >= 4);
  const times = asked.filter(({ scope }) => scope === 'org_1').map(({ atMs }) => atMs);
  for (const [i, at] of times.entries()) if (i > 0) expect(at - times[i - 1]!).toBeGreaterThan(EVERY_MS - 2);
  // Nothing has changed since.
  expect(streams.every(({ got }) => got.length === 1)).toBe(true);
  for (const { leave } of streams) await leave();
});

it('tells what has changed, and no more than one value in an interval', async () => {
  const { listen, calls, rounds } = bench();
  const stream = listen(viewer('usr_1'));
  const counting = setInterval(() => (calls.usr_1 = (calls.usr_1 ?? 0) + 1), 2);
  await waitFor(() => stream.got.length >= 6);
  clearInterval(counting);
  for (const [i, { atMs }] of stream.got.entries())
    if (i > 0) expect(atMs - stream.got[i - 1]!.atMs).toBeGreaterThan(EVERY_MS - 21);
  // The last value arrives although nothing changes any more.
  await waitFor(() => stream.counts().at(-1) === calls.usr_1);
  const before = [stream.got.length, rounds('usr_1')] as const;
  await waitFor(() => rounds('usr_1') > before[1] + 2);
  expect(stream.got.length).toBe(before[0]);
  await stream.leave();
});

it('asks nothing while nobody listens, and begins again with fresh figures', async () => {
  const { listen, calls, asked, updates } = bench();
  const [one, two] = [listen(viewer('usr_1')), listen(viewer('usr_1'))];
  await waitFor(() => two.got.length === 1);
  await one.leave();
  await two.leave();
  expect(updates.size).toBe(0);
  const before = asked.length;
  const other = listen(viewer('usr_2'));
  await waitFor(() => asked.filter(({ scope }) => scope === 'usr_2').length >= 3);
  expect(asked.filter(({ scope }) => scope === 'usr_1')).toHaveLength(before);
  calls.usr_1 = 7;
  const again = listen(viewer('usr_1'));
  await waitFor(() => again.got.length === 1);
  expect(again.counts()).toEqual([7]);
  await other.leave();
  await again.leave();
});

it('a client that takes nothing has the newest figures when it does, and nothing else', async () => {
  const { updates, people, calls, rounds } = bench();
  people.set('usr_1', viewer('usr_1'));
  const events = updates.subscribe(viewer('usr_1'));
  expect((await events.next()).value).toMatchObject({ calls: 0 });
  for (let i = 1; i <= 5; i += 1) {
    calls.usr_1 = i;
    const seen = rounds('usr_1');
    await waitFor(() => rounds('usr_1') > seen + 1);
  }
  expect((await events.next()).value).toMatchObject({ calls: 5 });
  await events.return!();
});

it('a question that fails is asked again: told once in the log, and to nobody who listens', async () => {
  const { listen, faults, logger, rounds } = bench();
  faults.push(...Array.from({ length: 3 }, () => new Error('the database is away')));
  const stream = listen(viewer('usr_1'));
  await waitFor(() => stream.got.length === 1);
  expect(rounds('usr_1')).toBe(4);
  expect(logger.lines.map(({ level }) => level)).toEqual(['warn']);
  await stream.leave();
});

it('who has another role sees the totals of that; who was blocked sees nothing', async () => {
  const { listen, people, calls, rounds } = bench({ lookEveryMs: 5 });
  Object.assign(calls, { org_1: 10, usr_1: 1, usr_2: 2 });
  const streams = [listen(viewer('usr_1', 'ADMIN')), listen(viewer('usr_2', 'ADMIN'))];
  await waitFor(() => streams.every(({ got }) => got.length === 1));
  people.set('usr_1', viewer('usr_1', 'MEMBER'));
  people.delete('usr_2');
  await waitFor(() => streams[0]!.got.length === 2);
  const asked = rounds('org_1');
  await waitFor(() => rounds('usr_1') > 3);
  expect(streams.map(({ counts }) => counts())).toEqual([[10, 1], [10]]);
  // Nobody is left in it.
  expect(rounds('org_1')).toBeLessThanOrEqual(asked + 1);
  for (const { leave } of streams) await leave();
});

it('one user cannot have subscriptions without end', async () => {
  const { updates, listen } = bench();
  const streams = Array.from({ length: 100 }, () => listen(viewer('usr_1')));
  expect(() => updates.subscribe(viewer('usr_1'))).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }));
  const other = listen(viewer('usr_2'));
  await waitFor(() => other.got.length === 1);
  await streams[0]!.leave();
  streams[0] = listen(viewer('usr_1'));
  for (const { leave } of [...streams, other]) await leave();
  expect(updates.size).toBe(0);
});

it('who leaves before the first value is told nothing, and keeps nothing going', async () => {
  const { updates, asked, listen, holdOn } = bench();
  let release!: () => void;
  holdOn(new Promise((resolve) => (release = resolve)));
  const stream = listen(viewer('usr_1'));
  await waitFor(() => asked.length === 1);
  await stream.leave();
  release();
  expect(updates.size).toBe(0);
  const other = listen(viewer('usr_2'));
  await waitFor(() => asked.filter(({ scope }) => scope === 'usr_2').length > 2);
  expect([stream.got, asked.filter(({ scope }) => scope === 'usr_1').length]).toEqual([[], 1]);
  await other.leave();
});
