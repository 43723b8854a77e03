import { AlertSubscription } from '../../../src/services/budgets/alert-subscription';
import type { OwnedAlert } from '../../../src/services/budgets/budget-row.store';
import type { Looker } from '../../../src/services/budgets/budget.rule';

const looker: Looker = { userId: 'usr_1', organizationId: 'org_1', role: 'ADMIN' };
const alertAt = (ms: number, organizationId = 'org_1'): OwnedAlert => ({
  id: `alr_${ms}`,
  budgetId: 'bud_1',
  organizationId,
  scope: 'USER',
  subjectId: 'usr_2',
  ownerId: null,
  percent: 80,
  spent: '8',
  limit: '10',
  at: new Date(ms),
});
const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The table as an array, the feed as a number, and reads that are answered when the test says so. */
function scene(after: Date | null) {
  const table: OwnedAlert[] = [];
  const reads: (() => void)[] = [];
  const state = { handedOut: 0, running: 0, failing: false, gone: false };
  const subscription = new AlertSubscription(
    {
      store: {
        lookers: async () => new Map(state.gone ? [] : [['usr_1', looker]]),
        page: async (_looker, from, limit) => {
          const newer = table.filter(({ at }) => at > from);
          const page = newer.filter(({ organizationId }) => organizationId === 'org_1').slice(0, limit);
          await new Promise<void>((resolve) => reads.push(resolve));
          if (state.failing) throw new Error('away');
          return { alerts: page, upTo: newer.at(-1)?.at ?? from };
        },
      },
      handedOut: () => new Date(state.handedOut),
      onStart: () => (state.running += 1),
      onEnd: () => (state.running -= 1),
    },
    'usr_1',
    after,
  );
  const got: string[] = [];
  const feed = (...alerts: OwnedAlert[]): void => {
    state.handedOut = alerts.at(-1)!.at.getTime();
    subscription.offer(alerts, looker);
  };
  return {
    table,
    reads,
    state,
    subscription,
    got,
    feed,
    /** Takes what comes, until the end. */
    take: async () => {
      for await (const { id } of subscription.events) got.push(id);
    },
    answer: async () => {
      await settled();
      reads.shift()!();
      await settled();
    },
  };
}

describe('the alerts of one subscriber', () => {
  it('are not missed where they are handed out while the past is still being read, nor told twice', async () => {
    const { table, got, feed, take, answer } = scene(new Date(0));
    table.push(alertAt(1));
    void take();
    await settled();
    // The read has its snapshot. What is committed and handed out now is in neither, and not to be lost.
    table.push(alertAt(2));
    feed(alertAt(2));
    await answer();
    expect(got).toEqual(['alr_1']);
    await answer();
    expect(got).toEqual(['alr_1', 'alr_2']);
    // It is live now. The feed may be behind what was read from the table.
    table.push(alertAt(3));
    feed(alertAt(2), alertAt(3));
    await settled();
    expect(got).toEqual(['alr_1', 'alr_2', 'alr_3']);
  });

  it('begin with what comes, where no past was asked for', async () => {
    const { state, table, reads, got, feed, take } = scene(null);
    table.push(alertAt(1));
    state.handedOut = 1;
    void take();
    feed(alertAt(2), alertAt(3, 'org_2'), alertAt(4));
    await settled();
    expect(got).toEqual(['alr_2', 'alr_4']);
    expect(reads).toEqual([]);
  });

  it('are read in pages, each when the one before was taken', async () => {
    const { table, reads, subscription, answer } = scene(new Date(0));
    for (let ms = 1; ms <= 250; ms += 1) table.push(alertAt(ms));
    const first = subscription.events.next();
    await answer();
    expect((await first).value).toMatchObject({ id: 'alr_1' });
    await settled();
    expect([subscription.events.waiting, reads.length]).toEqual([99, 0]);
    for (let ms = 2; ms <= 100; ms += 1) await subscription.events.next();
    expect(subscription.events.waiting).toBe(0);
    await answer();
    expect(subscription.events.waiting).toBe(100);
  });

  it('of somebody who is not found any more are not told, and its subscription waits to be ended', async () => {
    const { state, table, got, take, subscription } = scene(null);
    state.handedOut = 1;
    void take();
    table.push(alertAt(2));
    state.gone = true;
    subscription.offer([alertAt(2)], undefined);
    await settled();
    expect(got).toEqual([]);
    await subscription.events.return!();
    expect(state.running).toBe(0);
  });

  it('end with an error where the past cannot be read, and the feed forgets them', async () => {
    const { state, take, answer } = scene(new Date(0));
    state.failing = true;
    const taking = take();
    taking.catch(() => undefined);
    await answer();
    await expect(taking).rejects.toThrow('away');
    expect(state.running).toBe(0);
  });
});
