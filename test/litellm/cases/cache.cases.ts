import { randomUUID } from 'node:crypto';
import { newId } from '../../../src/lib/ids';
import { plausible } from '../../../src/services/ledger/bound';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { Reconciler } from '../../../src/services/reconciliation/reconciler';
import { ReconciliationStore } from '../../../src/services/reconciliation/reconciliation.store';
import type { Difference } from '../../../src/services/reconciliation/reconciliation.types';
import type { TestUser } from '../../support/factories';
import { framesOf } from '../../support/litellm';
import type { LitellmRig } from '../../support/litellm-rig';
import { startRedis, type TestRedis } from '../../support/redis';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { isTerminal } from '../../support/ws-client';

/** Of a proxy whose operator has switched its response cache on: every call asks it, and Weir says nothing of it. */
export function cacheCases(rig: LitellmRig): void {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
    const { hostname, port } = new URL(redis.url);
    await rig.litellm.kill();
    await rig.litellm.startAgain((config) => ({
      ...config,
      litellm_settings: {
        ...(config.litellm_settings as object),
        cache: true,
        cache_params: { type: 'redis', host: hostname, port: Number(port) },
      },
    }));
  });
  afterAll(async () => {
    // Not asked again by those that come after.
    await rig.litellm.kill();
    await rig.litellm.startAgain();
    await redis?.stop();
  });

  /** A question that nobody has asked before. */
  const fresh = (): string => `What is ${randomUUID()}?`;
  const asked = (): number => rig.litellm.provider.requests.length;
  const budgetOf = async (user: TestUser): Promise<() => Promise<any>> => {
    const id = newId('budget');
    await rig.database.db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, 'USER', $3, 'MONTH', 100)`,
      [id, user.organizationId, user.id],
    );
    return async () =>
      (
        await rig.database.db.query(
          'SELECT trim_scale(spent)::text AS spent, held::float8, overage::float8 FROM budget_periods WHERE budget_id = $1',
          [id],
        )
      )[0];
  };

  /** Between our figures and the proxy's records of all calls since then. */
  const differences = async (fromMs: number): Promise<{ found: Difference[]; comparedCalls: number }> => {
    const { baseUrl, masterKey } = rig.litellm;
    const records = new LitellmAdmin({ baseUrl, masterKey });
    // Nobody waits a minute here: the records are there.
    const reconciler = new Reconciler({
      store: new ReconciliationStore(rig.database.db),
      records,
      plausible,
      modelOf: () => null,
      settledForMs: 0,
    });
    const all = { found: [] as Difference[], comparedCalls: 0 };
    try {
      for await (const step of reconciler.walk({
        fromMs,
        toMs: Date.now() + 1_000,
        organizationId: null,
        planned: () => 'planned',
        corrector: null,
      })) {
        all.found.push(...step.differences);
        all.comparedCalls += step.comparedCalls;
      }
    } finally {
      await records.close();
    }
    return all;
  };

  it.each([false, true])(
    '[65, 66] is told by its header, and has usage and id of the first answer; its record says so, and that it cost nothing: streamed %s',
    async (stream) => {
      const more = { messages: [{ role: 'user', content: fresh() }] };
      const [firstId, secondId] = [`call_${randomUUID()}`, `call_${randomUUID()}`];
      const before = asked();
      const first = await rig.litellm.complete('test-chat', {
        stream,
        more,
        headers: { 'x-litellm-call-id': firstId },
      });
      const hit = await rig.litellm.complete('test-chat', { stream, more, headers: { 'x-litellm-call-id': secondId } });
      expect(asked() - before).toBe(1);
      expect([first.headers.get('x-litellm-cache-key'), hit.headers.get('x-litellm-cache-key')]).toEqual([
        null,
        expect.stringMatching(/./),
      ]);
      expect([first.headers.get('x-litellm-model-group'), hit.headers.get('x-litellm-model-group')]).toEqual([
        'test-chat',
        'test-chat',
      ]);
      const [one, two] = [first, hit].map(({ text, body }) =>
        stream ? framesOf(text).find((frame) => frame.usage) : body,
      );
      expect(two.id).toBe(one.id);
      expect(two.usage).toMatchObject({
        prompt_tokens: one.usage.prompt_tokens,
        completion_tokens: one.usage.completion_tokens,
      });
      // Of no use: in a stream it is what the first answer cost.
      if (stream) expect(two.usage.cost).toBe(one.usage.cost);
      else expect(hit.headers.get('x-litellm-response-cost')).toBeNull();

      const [[record], [missed]] = [await rig.litellm.spendRows(secondId), await rig.litellm.spendRows(firstId)];
      expect(record).toMatchObject({
        status: 'success',
        cache_hit: 'True',
        spend: 0,
        model_group: 'test-chat',
        prompt_tokens: one.usage.prompt_tokens,
        completion_tokens: one.usage.completion_tokens,
      });
      expect(missed.cache_hit).toMatch(/None|False/);
      expect(missed.spend).toBeGreaterThan(0);
    },
  );

  it.each(['whole', 'streamed'])(
    'costs its caller nothing, and has used nothing; the first one is charged: %s',
    async (how) => {
      const user = await rig.user();
      const period = await budgetOf(user);
      const question = fresh();
      const fromMs = Date.now();
      const reply = async (more: object = {}): Promise<any> => {
        if (how === 'whole') return (await rig.app.chat(user.token, ask(question, { ...more }))).data!.chat;
        return (
          await rig.app
            .connect(user.token)
            .chatStream(ask(question, { ...more }))
            .waitFor(isTerminal)
        ).reply;
      };
      const before = asked();
      const first = await reply();
      const spent = await period();
      expect(Number(spent.spent)).toBeGreaterThan(0);
      const idempotencyKey = randomUUID();
      const hit = await reply({ idempotencyKey });
      expect(asked() - before).toBe(1);
      expect(first).toMatchObject({ usage: { source: 'PROVIDER' } });
      const told = {
        answer: { content: first.answer.content },
        usage: { promptTokens: 0, completionTokens: 0, source: 'CACHE' },
        cost: { total: '0' },
        route: { servedModel: 'test-chat' },
      };
      expect(hit).toMatchObject(told);
      const row = (await settledRow(rig.database.db, hit.call.id)) as any;
      expect(row).toMatchObject({
        status: 'COMPLETED',
        usage_source: 'CACHE',
        total_tokens: 0,
        cost: '0',
        cost_request: '0',
        proxy_cost: '0',
        raw_usage: expect.objectContaining({ prompt_tokens: 11 }),
      });
      expect(await period()).toEqual({ ...spent, held: 0, overage: 0 });
      // Repeated with its key it is what it was.
      expect(await reply({ idempotencyKey })).toMatchObject({ ...told, call: { id: hit.call.id } });

      for (const { call } of [first, hit]) await rig.litellm.spendRows(call.id);
      expect(await differences(fromMs)).toEqual({ found: [], comparedCalls: 2 });
    },
  );
}
