import { setClock } from '../../support/database';
import { withMistake, type Mutation } from '../../support/ledger/mutate';
import { kinds, Scene } from '../../support/ledger/scene';
import { waitFor } from '../../support/wait';

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

const rowsOf = async (): Promise<{ kind: string; cost: string }[]> =>
  scene.db.query(
    'SELECT kind, trim_scale(cost)::text AS cost FROM llm_usage WHERE organization_id = $1 ORDER BY correction, kind DESC',
    [scene.organizationId],
  );

describe('a call that is settled twice', () => {
  const ALWAYS_NEW: Mutation[] = [
    [/CASE WHEN is_all_new OR x\.id = ANY \(settled\) THEN coalesce\(x\.cost, 0\) ELSE 0 END/, 'coalesce(x.cost, 0)'],
  ];
  async function play(): Promise<{ spent: string; held: string }> {
    const budgetId = await scene.budget({ limit: '100' });
    const [call] = await scene.admitted(scene.call('60'));
    const end = scene.end(call!, '40');
    expect(await scene.a.settle([end])).toEqual([call!.call.id]);
    expect(await scene.b.settle([end])).toEqual([]);
    return scene.money(budgetId);
  }

  it('is booked once', async () => {
    expect(await play()).toEqual({ spent: '40', held: '0' });
    expect(await rowsOf()).toEqual([{ kind: 'CALL', cost: '40' }]);
  });

  it('would be booked twice if booking did not derive from the gate', async () => {
    expect(await withMistake(base.db, 'weir.settle', ALWAYS_NEW, play)).toEqual({ spent: '80', held: '0' });
  });

  it('is booked once by two replicas at once, and by one that has it twice in a group', async () => {
    const budgetId = await scene.budget({ limit: '1000' });
    const calls = await scene.admitted(...Array.from({ length: 12 }, () => scene.call('60')));
    const ends = calls.map((call) => scene.end(call, '40'));
    // The first of them is a group of its own; the others queue, and each is there twice.
    const told = await Promise.all([scene.a.settle(ends), scene.a.settle(ends), scene.b.settle([...ends].reverse())]);
    expect(new Set(told.flat())).toEqual(new Set(ends.map(({ id }) => id)));
    expect(await scene.money(budgetId)).toEqual({ spent: '480', held: '0' });
    expect(await rowsOf()).toHaveLength(12);
  });
});

describe('a call that comes twice in one group', () => {
  async function play(): Promise<{ spent: string; held: string }> {
    const budgetId = await scene.budget({ limit: '100' });
    const [call] = await scene.admitted(scene.call('60'));
    const row = {
      organization_id: scene.organizationId,
      occurred_at: call!.occurredAt,
      id: call!.call.id,
      user_id: scene.userId,
      token_id: scene.tokenId,
      project_id: scene.projectId,
      scenario: 'DEFAULT',
      trace_id: 't',
      streamed: false,
      door: 'GRAPHQL',
      operation: 'CHAT',
      model: 'm',
      served_model: 'm',
      upstream: 'DIRECT',
      attempts: 1,
      status: 'COMPLETED',
      uncached_prompt_tokens: 1,
      cache_read_tokens: 0,
      cache_write_tokens: 0,
      cache_write_one_hour_tokens: 0,
      output_tokens: 1,
      reasoning_tokens: 0,
      usage_source: 'PROVIDER',
      cost: '40',
      omitted_messages: 0,
      budget_ids: call!.heldOn.map(({ budgetId }) => budgetId),
      budget_dates: call!.heldOn.map(({ startsOn }) => startsOn),
    };
    expect(await scene.db.query('SELECT settled FROM weir.settle($1::json)', [JSON.stringify([row, row])])).toEqual([
      { settled: [row.id] },
    ]);
    return scene.money(budgetId);
  }

  it('is booked once', async () => {
    expect(await play()).toEqual({ spent: '40', held: '0' });
  });

  it('would be booked as often as it comes', async () => {
    expect(
      await withMistake(base.db, 'weir.settle', [[/SELECT DISTINCT ON \(e\.id\) e AS x/, 'SELECT e AS x']], play),
    ).toMatchObject({ spent: '80' });
  });
});

describe('a call whose row in flight is gone', () => {
  const GONE_IS_SETTLED: Mutation[] = [
    [
      /CASE WHEN is_all_new OR x\.id = ANY \(settled\) THEN coalesce\(x\.cost, 0\) ELSE 0 END/,
      'CASE WHEN released[x.ordinality] IS NOT NULL THEN coalesce(x.cost, 0) ELSE 0 END',
    ],
  ];
  async function play(): Promise<{ spent: string; held: string }> {
    const budgetId = await scene.budget({ limit: '100' });
    const [call] = await scene.admitted(scene.call('60'));
    // A fail-over that lost the admission.
    await scene.db.query('DELETE FROM calls_in_flight WHERE id = $1', [call!.call.id]);
    await scene.db.query('UPDATE budget_periods SET held = 0 WHERE budget_id = $1', [budgetId]);
    const end = scene.end(call!, '40');
    expect(await scene.a.settle([end])).toEqual([call!.call.id]);
    expect(await scene.a.settle([end])).toEqual([]);
    return scene.money(budgetId);
  }

  it('is not therefore settled: it is booked where its admission said, once', async () => {
    expect(await play()).toEqual({ spent: '40', held: '0' });
  });

  it('would cost nothing if its row were the gate', async () => {
    expect(await withMistake(base.db, 'weir.settle', GONE_IS_SETTLED, play)).toEqual({ spent: '0', held: '0' });
  });
});

describe('a budget that is made while calls run', () => {
  const NOT_TOLD: Mutation[] = [
    [
      /(UPDATE calls_in_flight AS f SET budget_ids = f\.budget_ids \|\| a\.ids[\s\S]*?)WHERE f\.organization_id = v_organization AND f\.id = a\.id;/,
      '$1WHERE false;',
    ],
  ];
  async function play(): Promise<{ spent: string; held: string }[]> {
    const calls = await scene.admitted(scene.call('60'), scene.call('30'), scene.call('5'));
    await scene.a.settle([scene.end(calls[2]!, '3')]);
    const budgetId = await scene.budget({ limit: '100' });
    const seen = [await scene.money(budgetId)];
    await scene.a.settle([scene.end(calls[0]!, '40')]);
    seen.push(await scene.money(budgetId));
    await scene.a.settle([scene.end(calls[1]!, '30')]);
    seen.push(await scene.money(budgetId));
    return seen;
  }

  it('holds what they hold and books each once', async () => {
    expect(await play()).toEqual([
      { spent: '3', held: '90' },
      { spent: '43', held: '30' },
      { spent: '73', held: '0' },
    ]);
  });

  it('would miss what they cost, were they not told', async () => {
    const seen = await withMistake(base.db, 'weir.fill_budgets', NOT_TOLD, play);
    expect(seen.at(-1)).toEqual({ spent: '3', held: '0' });
  });

  it('and is not filled in, is none of their business', async () => {
    const [call] = await scene.admitted(scene.call('60'));
    const budgetId = await scene.budget({ limit: '100', fill: false });
    await scene.a.settle([scene.end(call!, '40')]);
    expect(await scene.periods(budgetId)).toEqual([]);
  });

  it('has the corrections of what was settled before it', async () => {
    const [call] = await scene.admitted(scene.call('60'));
    await scene.a.settle([scene.end(call!, '40', { status: 'LOST' })]);
    const budgetId = await scene.budget({ limit: '100' });
    expect(await scene.a.correct([scene.end(call!, '25')], 'a later record')).toEqual([call!.call.id]);
    expect(await scene.money(budgetId)).toEqual({ spent: '25', held: '0' });
  });

  it('is finished before those that come meanwhile are admitted', async () => {
    await scene.session(async (other) => {
      await other.query('BEGIN');
      await other.query('SELECT weir.lock_budgets($1)', [scene.organizationId]);
      const admission = scene.a.admit([scene.call('60')]);
      // Whoever asks is refused at once, and asks again: nothing waits in the database.
      await expect(base.db.query('SELECT weir.share_budgets(ARRAY[$1])', [scene.organizationId])).rejects.toMatchObject(
        { code: '55P03' },
      );
      await other.query(
        `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ('bud_' || $1, $1, 'ORGANIZATION', $1, 'MONTH', 50)`,
        [scene.organizationId],
      );
      await other.query(`SELECT weir.fill_budgets($1, ARRAY['bud_' || $1])`, [scene.organizationId]);
      await other.query('COMMIT');
      expect(kinds(await admission)).toEqual(['BUDGET_EXCEEDED']);
    });
  });
});

describe('the edge of a day', () => {
  it('is the admission: what was held at 23:59:59.999 is booked there, and its row has that time', async () => {
    await setClock(base.db, '2026-11-21T23:59:59.999Z');
    const budgetId = await scene.budget({ period: 'DAY', limit: '100' });
    const [call] = await scene.admitted(scene.call('60'));
    expect(kinds(await scene.a.admit([scene.call('60')]))).toEqual(['BUDGET_EXCEEDED']);
    await setClock(base.db, '2026-11-22T00:00:00Z');
    const [next] = await scene.admitted(scene.call('60'));
    await scene.a.settle([scene.end(call!, '40'), scene.end(next!, '50')]);
    expect(await scene.periods(budgetId)).toEqual([
      { startsOn: '2026-11-21', startsAt: '2026-11-21T00:00:00Z', spent: '40', held: '0', overage: '0' },
      { startsOn: '2026-11-22', startsAt: '2026-11-22T00:00:00Z', spent: '50', held: '0', overage: '0' },
    ]);
    const times = await scene.db.query<{ at: Date }>(
      'SELECT occurred_at AS at FROM llm_usage WHERE organization_id = $1 ORDER BY at',
      [scene.organizationId],
    );
    expect(times.map(({ at }) => at.toISOString())).toEqual(['2026-11-21T23:59:59.999Z', '2026-11-22T00:00:00.000Z']);
  });
});

describe('usage above the hold', () => {
  it('is booked in full, and is overage as far as it exceeds the limit; a correction takes overage back first', async () => {
    const budgetId = await scene.budget({ limit: '100' });
    const [big, small] = await scene.admitted(scene.call('60'), scene.call('40'));
    await scene.a.settle([scene.end(big!, '75')]);
    expect((await scene.periods(budgetId))[0]).toMatchObject({ spent: '75', held: '40', overage: '15' });
    await scene.a.settle([scene.end(small!, '10')]);
    expect((await scene.periods(budgetId))[0]).toMatchObject({ spent: '85', held: '0', overage: '15' });
    await scene.a.correct([scene.end(big!, '80')], 'dearer');
    await scene.a.correct([scene.end(big!, '20')], 'cheaper');
    expect((await scene.periods(budgetId))[0]).toMatchObject({ spent: '30', held: '0', overage: '0' });
    expect(await rowsOf()).toEqual(
      expect.arrayContaining([
        { kind: 'CALL', cost: '75' },
        { kind: 'REVERSAL', cost: '-75' },
        { kind: 'CORRECTION', cost: '80' },
        { kind: 'REVERSAL', cost: '-80' },
        { kind: 'CORRECTION', cost: '20' },
      ]),
    );
  });
});

describe('two corrections of one call at once', () => {
  async function play(): Promise<string> {
    const budgetId = await scene.budget({ limit: '100' });
    const [call] = await scene.admitted(scene.call('60'));
    await scene.a.settle([scene.end(call!, '10', { status: 'LOST' })]);
    await scene.session(async (other) => {
      await other.query('BEGIN');
      await other.query('SELECT FROM budget_periods WHERE budget_id = $1 FOR UPDATE', [budgetId]);
      const first = scene.a.correct([scene.end(call!, '20')], 'the record');
      await scene.waiting('weir.correct');
      const second = scene.b.correct([scene.end(call!, '33')], 'the owner, who was only slow');
      await waitFor(async () => (await scene.waiters('weir.correct')) === 2);
      await other.query('COMMIT');
      await Promise.all([first, second]);
    });
    const [{ cost, calls }] = (await scene.db.query(
      'SELECT trim_scale(sum(cost))::text AS cost, sum(sign) AS calls FROM llm_usage WHERE organization_id = $1',
      [scene.organizationId],
    )) as [{ cost: string; calls: string }];
    expect(await scene.money(budgetId)).toEqual({ spent: cost, held: '0' });
    return `${cost} of ${calls}`;
  }

  it('come one after the other, and the later one stands', async () => {
    expect(await play()).toBe('33 of 1');
  });

  it('would take the same number, if the second did not wait for the first', async () => {
    await expect(withMistake(base.db, 'weir.correct', [[/FOR NO KEY UPDATE OF l/, '']], play)).rejects.toThrow(
      /duplicate key/,
    );
  });
});
