import type { Client } from 'pg';
import type { Db } from '../../../src/database/pool';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { setClock } from '../../support/database';
import { withMistake, type Mutation } from '../../support/ledger/mutate';
import { kinds, Scene } from '../../support/ledger/scene';
import { waitFor } from '../../support/wait';

// Each trap is set twice: the ledger walks round it, and with the remedy taken out it falls in. So the tests see what
// they claim to see.
let base: Scene;
let scene: Scene;
beforeAll(async () => {
  base = await Scene.open();
});
beforeEach(async () => {
  scene = await base.renew();
});
afterEach(() => setClock(base.db, null));
afterAll(() => base.close());

const admit = async (client: Pick<Client, 'query'>, calls: readonly unknown[]): Promise<string[]> =>
  (await client.query('SELECT weir.admit($1::json) AS answer', [JSON.stringify(calls)])).rows[0].answer.fates;
/** A call as the function takes it. */
const row = (nr: number, call: ReturnType<Scene['call']>): Record<string, unknown> => ({
  nr,
  again: false,
  id: call.id,
  organization_id: call.organizationId,
  user_id: call.userId,
  token_id: call.tokenId,
  project_id: call.projectId,
  scenario: call.scenario,
  trace_id: call.traceId,
  model: call.model,
  upstream: call.upstream,
  door: call.door,
  operation: call.operation,
  streamed: false,
  max_tokens: 1,
  prompt_tokens_estimate: 1,
  owner: call.owner,
  deadline_ms: 600_000,
  hold: call.hold,
  key: call.idempotency?.key,
  input_hash: call.idempotency?.inputHash,
});

describe('a big call that does not fit, with a small one behind it in the same group', () => {
  const ADMIT: Mutation[] = [
    [
      /SELECT min\(rooms\[m\]\) INTO room/,
      'FOREACH place IN ARRAY mine LOOP rooms[place] := rooms[place] - c.hold; END LOOP; SELECT min(rooms[m]) INTO room',
    ],
  ];
  async function play(): Promise<string[]> {
    await scene.budget({ limit: '100' });
    // One group, since of two that are under way at a time the later one may be first.
    return scene.session((client) =>
      admit(
        client,
        ['60', '60', '30'].map((hold, i) => row(i + 1, scene.call(hold))),
      ),
    );
  }

  it('refuses the big one and admits the small one', async () => {
    expect(await play()).toEqual(['ADMITTED', 'BUDGET_EXCEEDED', 'ADMITTED']);
    expect(
      (
        await scene.db.query(
          'SELECT sum(held) AS held FROM budget_periods p JOIN budgets b ON b.id = p.budget_id WHERE b.organization_id = $1',
          [scene.organizationId],
        )
      )[0],
    ).toEqual({ held: '90' });
  });

  it('would be refused with it by a running sum', async () => {
    expect(await withMistake(base.db, 'weir.admit', ADMIT, play)).toEqual([
      'ADMITTED',
      'BUDGET_EXCEEDED',
      'BUDGET_EXCEEDED',
    ]);
  });
});

describe('a limit that is lowered while admission waits for the period row', () => {
  const LOCK = String.raw`PERFORM FROM unnest\(room_organizations, room_budgets, room_dates\)[^;]*FOR NO KEY UPDATE OF p;`;
  const READ = String.raw`SELECT array_agg\(w\.org ORDER BY w\.nr\)[^;]*;`;
  const READ_FIRST: Mutation[] = [[new RegExp(`(${LOCK})([\\s\\S]*?)(${READ})`), '$3 $1 $2']];
  async function play(): Promise<string[]> {
    const budgetId = await scene.budget({ limit: '100' });
    return scene.session(async (other) => {
      await other.query('BEGIN');
      await other.query('SELECT FROM budget_periods WHERE budget_id = $1 FOR UPDATE', [budgetId]);
      const admission = scene.a.admit([scene.call('90')]);
      await scene.waiting('weir.admit');
      // As the change of a plan does it: without the organisation's lock.
      await scene.db.query('UPDATE budgets SET limit_amount = 50 WHERE id = $1', [budgetId]);
      await other.query('COMMIT');
      return kinds(await admission);
    });
  }

  it('counts', async () => {
    expect(await play()).toEqual(['BUDGET_EXCEEDED']);
  });

  it('would be overlooked by an admission that reads it before the lock', async () => {
    expect(await withMistake(base.db, 'weir.admit', READ_FIRST, play)).toEqual(['ADMITTED']);
  });
});

describe('a period row that two replicas make at the same moment', () => {
  // The row of the other one is not in the snapshot of the statement that waited for it.
  const SAME_STATEMENT: Mutation[] = [
    [
      /INSERT INTO budget_periods \(organization_id, budget_id, starts_on, starts_at, ends_at, limit_amount, soft_limit\)([\s\S]*?)DO NOTHING;/,
      `WITH made AS (INSERT INTO budget_periods (organization_id, budget_id, starts_on, starts_at, ends_at, limit_amount, soft_limit)$1DO NOTHING RETURNING budget_id, starts_on),
      seen AS (SELECT budget_id, starts_on FROM made UNION SELECT budget_id, starts_on FROM budget_periods)
      SELECT array_agg(t.id), array_agg(t.day) INTO room_budgets, room_dates FROM unnest(room_budgets, room_dates) AS t(id, day) JOIN seen AS s ON s.budget_id = t.id AND s.starts_on = t.day;`,
    ],
  ];
  async function play(): Promise<string[]> {
    const budgetId = await scene.budget({ limit: '100', fill: false });
    return scene.session(async (other) => {
      await other.query('BEGIN');
      expect(await admit(other, [row(1, scene.call('90'))])).toEqual(['ADMITTED']);
      const admission = scene.a.admit([scene.call('90')]);
      await scene.waiting('weir.admit');
      await other.query('COMMIT');
      const answer = kinds(await admission);
      expect(await scene.periods(budgetId)).toHaveLength(1);
      return answer;
    });
  }

  it('is seen by the one that waited', async () => {
    expect(await play()).toEqual(['BUDGET_EXCEEDED']);
  });

  it('would not be seen by the statement that makes it: no budget at all', async () => {
    expect(await withMistake(base.db, 'weir.admit', SAME_STATEMENT, play)).toEqual(['ADMITTED']);
  });
});

describe('Havana on 2026-11-01, where midnight comes twice', () => {
  const SECOND_TIME: Mutation[] = [[/SELECT min\(t\)[\s\S]*>= day/, 'SELECT day::timestamp AT TIME ZONE zone']];
  async function play(): Promise<{ startsOn: string; startsAt: string; spent: string; held: string }> {
    // Half past midnight for the first time; what was spent at ten past is of the same day.
    await setClock(base.db, '2026-11-01T04:10:00Z');
    const [early] = await scene.admitted(scene.call('7'));
    await scene.a.settle([scene.end(early!, '7')]);
    await setClock(base.db, '2026-11-01T04:30:00Z');
    const budgetId = await scene.budget({ period: 'DAY', limit: '100', zone: 'America/Havana' });
    await scene.admitted(scene.call('1'));
    // The second time.
    await setClock(base.db, '2026-11-01T05:30:00Z');
    await scene.admitted(scene.call('2'));
    const [{ overage: _, ...period }, ...more] = (await scene.periods(budgetId)) as [
      Awaited<ReturnType<Scene['periods']>>[number],
    ];
    expect(more).toEqual([]);
    return period;
  }

  it('has one period, which begins with the first midnight', async () => {
    expect(await play()).toEqual({ startsOn: '2026-11-01', startsAt: '2026-11-01T04:00:00Z', spent: '7', held: '3' });
  });

  it('would begin its period in the future, and forget the hour before', async () => {
    expect(await withMistake(base.db, 'weir.local_midnight', SECOND_TIME, play)).toMatchObject({
      startsAt: '2026-11-01T05:00:00Z',
      spent: '0',
    });
  });
});

describe('an idempotency key', () => {
  it('that comes twice in a group gives one call; where the first is refused, the second has its turn', async () => {
    await scene.budget({ limit: '100' });
    // Two groups go at a time: what comes after the first two calls is one group.
    const inOneGroup = async (...calls: ReturnType<typeof scene.call>[]): Promise<string[]> =>
      kinds((await scene.a.admit([scene.call('1'), scene.call('1'), ...calls])).slice(2));
    expect(await inOneGroup(...[1, 2, 3].map(() => scene.call('10', { key: 'k' })))).toEqual([
      'ADMITTED',
      'RUNNING',
      'RUNNING',
    ]);
    expect(await inOneGroup(scene.call('1000', { key: 'l' }), scene.call('10', { key: 'l' }))).toEqual([
      'BUDGET_EXCEEDED',
      'ADMITTED',
    ]);
  });

  it('twice in a group would fail everybody if each claimed it', async () => {
    const answer = withMistake(base.db, 'weir.admit', [[/SELECT DISTINCT ON \(x\.user_id, x\.key\)/, 'SELECT']], () =>
      scene.session((client) =>
        admit(client, [row(1, scene.call('1', { key: 'k' })), row(2, scene.call('1', { key: 'k' }))]),
      ),
    );
    await expect(answer).rejects.toThrow(/cannot affect row a second time/);
  });

  async function fromTwoReplicas(end: 'COMMIT' | 'ROLLBACK'): Promise<string[]> {
    return scene.session(async (other) => {
      await other.query('BEGIN');
      expect(await admit(other, [row(1, scene.call('1', { key: 'k' }))])).toEqual(['ADMITTED']);
      const admission = scene.a.admit([scene.call('1', { key: 'k' })]);
      await scene.waiting('weir.admit');
      await other.query(end);
      return kinds(await admission);
    });
  }

  it('from two replicas gives one call, and where the first one goes back, the second has its turn', async () => {
    expect(await fromTwoReplicas('COMMIT')).toEqual(['RUNNING']);
    scene = await base.renew();
    expect(await fromTwoReplicas('ROLLBACK')).toEqual(['ADMITTED']);
  });

  it('from two replicas would give two calls with DO NOTHING', async () => {
    const doNothing: Mutation[] = [
      [
        /ON CONFLICT \(organization_id, user_id, key\) DO UPDATE SET[\s\S]*?(?=\s+-- Whether|\s+RETURNING)/,
        'ON CONFLICT (organization_id, user_id, key) DO NOTHING',
      ],
    ];
    expect(await withMistake(base.db, 'weir.admit', doNothing, () => fromTwoReplicas('COMMIT'))).toEqual(['ADMITTED']);
  });

  it('of a refused call is free: the same call fits after the reset', async () => {
    await setClock(base.db, '2026-11-21T12:00:00Z');
    await scene.budget({ period: 'DAY', limit: '10' });
    await scene.admitted(scene.call('10'));
    expect(kinds(await scene.a.admit([scene.call('5', { key: 'k' })]))).toEqual(['BUDGET_EXCEEDED']);
    await setClock(base.db, '2026-11-22T00:00:00Z');
    expect(kinds(await scene.a.admit([scene.call('5', { key: 'k' })]))).toEqual(['ADMITTED']);
  });
});

describe('an admission whose answer is lost', () => {
  /** A call store whose first statement arrives, and whose connection then breaks. */
  const brokenOnce = (): LedgerStore => {
    let isBroken = false;
    const hot: Db['hot'] = (name, text, values) => {
      const answer = base.db.hot(name, text, values);
      if (isBroken) return answer as never;
      isBroken = true;
      answer.catch(() => {});
      return Promise.reject(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    };
    return new LedgerStore({ ...base.db, hot } as Db);
  };
  const written = (): Promise<unknown[]> =>
    scene.db.query('SELECT id FROM calls_in_flight WHERE organization_id = $1', [scene.organizationId]);

  it('is asked again: written and held once', async () => {
    const budgetId = await scene.budget({ limit: '100' });
    const call = scene.call('60', { key: 'k' });
    expect(kinds(await brokenOnce().admit([call]))).toEqual(['ADMITTED']);
    expect(await written()).toEqual([{ id: call.id }]);
    expect(await scene.money(budgetId)).toEqual({ spent: '0', held: '60' });
  });

  it('is asked again while the first try still waits: written and held once', async () => {
    const budgetId = await scene.budget({ limit: '100' });
    const call = scene.call('60', { key: 'k' });
    await scene.session(async (other) => {
      await other.query('BEGIN');
      await other.query('SELECT FROM budget_periods WHERE budget_id = $1 FOR UPDATE', [budgetId]);
      const admission = brokenOnce().admit([call]);
      await waitFor(async () => (await scene.waiters('weir.admit')) === 2);
      await other.query('COMMIT');
      expect(kinds(await admission)).toEqual(['ADMITTED']);
    });
    expect(await written()).toEqual([{ id: call.id }]);
    expect(await scene.money(budgetId)).toEqual({ spent: '0', held: '60' });
  });
});
