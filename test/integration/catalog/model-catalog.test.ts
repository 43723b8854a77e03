import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { DirectModelSource } from '../../../src/services/catalog/direct-model-source';
import { LitellmModelSource } from '../../../src/services/catalog/litellm-model-source';
import { ModelCatalog, type ModelCatalogDeps } from '../../../src/services/catalog/model-catalog';
import { ModelService } from '../../../src/services/catalog/model.service';
import type { Plan } from '../../../src/domain/plan';
import type { PriceRecord } from '../../../src/services/pricing/pricing.types';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';

/** Answers as a proxy does, or fails. */
class StandIn {
  status = 200;
  ids = ['smart', 'fast'];
  /** Of /router/settings; null: it fails. */
  settings: Record<string, unknown> | null = { fallbacks: [{ smart: ['fast'] }] };
  requests = 0;
  private server!: Server;

  async start(): Promise<void> {
    this.server = createServer((request, response) => {
      this.requests += 1;
      if (request.url === '/router/settings' && this.status === 200) {
        response
          .writeHead(this.settings ? 200 : 500, { 'content-type': 'application/json' })
          .end(JSON.stringify({ current_values: this.settings }));
        return;
      }
      const lists: Record<string, unknown[]> = {
        '/v1/models': this.ids.map((id) => ({ id, object: 'model' })),
        '/model_group/info': this.ids.map((id) => ({
          model_group: id,
          providers: ['openai'],
          mode: 'chat',
          max_input_tokens: 1000,
        })),
        '/v1/model/info': this.ids.map((id) => ({
          model_name: id,
          litellm_params: { model: `openai/${id}` },
          model_info: { id: `d-${id}`, input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 },
        })),
      };
      response
        .writeHead(this.status, { 'content-type': 'application/json' })
        .end(
          JSON.stringify(
            this.status === 200
              ? { data: lists[request.url!] }
              : { error: { message: 'down', type: 'internal_server_error' } },
          ),
        );
    });
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

let database: TestDatabase;
let proxy: StandIn;
const closing: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  database = await createTestDatabase();
  proxy = new StandIn();
  await proxy.start();
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await proxy.stop();
  await database.close();
});

function catalogOf(options: Partial<ModelCatalogDeps> = {}): ModelCatalog {
  const admin = new LitellmAdmin({ baseUrl: proxy.url, masterKey: 'sk-test' });
  const catalog = new ModelCatalog({
    db: database.db,
    source: new LitellmModelSource({ admin }),
    safeModeModels: ['gpt-4o-mini', 'house'],
    refreshMs: 60_000,
    logger: memoryLogger(),
    ...options,
  });
  closing.push(
    () => catalog.stop(),
    () => admin.close(),
  );
  return catalog;
}
const shown = (catalog: ModelCatalog): unknown => {
  const { models, stale, source } = catalog.snapshot();
  return { ids: models.map((model) => model.id), stale, source };
};

describe('the model catalogue', () => {
  it('serves what the proxy says, and hands its prices on', async () => {
    const answers: unknown[] = [];
    const catalog = catalogOf({ onRefreshed: (answer) => void answers.push(answer.prices) });
    await catalog.start();
    expect(shown(catalog)).toEqual({ ids: ['smart', 'fast'], stale: false, source: 'PROXY' });
    expect(catalog.find('smart')).toMatchObject({ provider: 'openai', contextWindow: 1000 });
    expect(catalog.find('unheard-of')).toBeNull();
    expect(answers).toEqual([
      [expect.objectContaining({ model: 'smart', deployment: 'd-smart' }), expect.objectContaining({ model: 'fast' })],
    ]);
  });

  it('goes on serving the last list, marked, while the proxy fails, and heals by itself', async () => {
    const catalog = catalogOf({ refreshMs: 20 });
    await catalog.start();
    const { asOf } = catalog.snapshot();
    proxy.status = 500;
    await waitFor(() => catalog.snapshot().stale);
    expect(shown(catalog)).toEqual({ ids: ['smart', 'fast'], stale: true, source: 'LAST_KNOWN' });
    expect(catalog.snapshot().asOf.getTime()).toBeGreaterThanOrEqual(asOf.getTime());
    proxy.ids = ['new'];
    proxy.status = 200;
    await waitFor(() => catalog.find('new'));
    expect(shown(catalog)).toEqual({ ids: ['new'], stale: false, source: 'PROXY' });
  });

  it('an empty list is not believed: a proxy that has just started knows no models yet', async () => {
    const catalog = catalogOf();
    await catalog.start();
    proxy.ids = [];
    expect(await catalog.refresh()).toBe(false);
    expect(shown(catalog)).toEqual({ ids: ['smart', 'fast'], stale: true, source: 'LAST_KNOWN' });
  });

  it('after a restart without the proxy it serves the list of the database with its time', async () => {
    const before = catalogOf();
    await before.start();
    proxy.status = 503;
    const after = catalogOf();
    await after.start();
    expect(shown(after)).toEqual({ ids: ['smart', 'fast'], stale: true, source: 'LAST_KNOWN' });
    expect(after.snapshot().asOf).toEqual(before.snapshot().asOf);
  });

  it('lists the configured models where there never was an answer', async () => {
    proxy.status = 503;
    const catalog = catalogOf();
    await catalog.start();
    expect(shown(catalog)).toEqual({ ids: ['gpt-4o-mini', 'house'], stale: true, source: 'SAFE_MODE' });
    expect(catalog.snapshot().models.map((model) => model.provider)).toEqual(['openai', null]);
  });

  it('is old after three missed refreshes, though none has failed', async () => {
    const catalog = catalogOf({ refreshMs: 10 });
    await catalog.start();
    await catalog.stop();
    await waitFor(() => catalog.snapshot().stale);
    expect(shown(catalog)).toMatchObject({ stale: true, source: 'LAST_KNOWN' });
  });

  it('asks once for all who want to know at the same time', async () => {
    const catalog = catalogOf();
    await Promise.all(Array.from({ length: 20 }, () => catalog.refresh()));
    expect(proxy.requests).toBe(4);
  });

  it('asks no more once it is stopped', async () => {
    const asked = { stopped: 0, running: 0 };
    const counting = (name: keyof typeof asked): ModelCatalog =>
      catalogOf({
        refreshMs: 5,
        source: { upstream: 'LITELLM', fetch: async () => ((asked[name] += 1), Promise.reject(new Error('away'))) },
      });
    const stopped = counting('stopped');
    await stopped.start();
    await stopped.stop();
    const before = asked.stopped;
    await counting('running').start();
    await waitFor(() => asked.running > 5);
    expect(asked.stopped).toBe(before);
  });

  it('knows what the proxy falls back to; while it does not say, the last known fallbacks hold, after a restart too', async () => {
    const fallbacks = (catalog: ModelCatalog): unknown =>
      Object.fromEntries(catalog.snapshot().models.map((model) => [model.id, model.fallbacks]));
    const before = catalogOf();
    await before.start();
    expect(fallbacks(before)).toEqual({ smart: ['fast'], fast: [] });
    proxy.settings = null;
    proxy.ids = ['smart', 'fast', 'new'];
    expect(await before.refresh()).toBe(true);
    expect(shown(before)).toEqual({ ids: ['smart', 'fast', 'new'], stale: false, source: 'PROXY' });
    expect(fallbacks(before)).toEqual({ smart: ['fast'], fast: [], new: [] });
    const after = catalogOf();
    await after.start();
    expect(fallbacks(after)).toEqual({ smart: ['fast'], fast: [], new: [] });
    proxy.settings = { fallbacks: [{ fast: ['new'] }] };
    await after.refresh();
    expect(fallbacks(after)).toEqual({ smart: [], fast: ['new'], new: [] });
  });

  it('takes the stored list of an earlier release, which had no fallbacks', async () => {
    await database.db.query(
      `INSERT INTO model_lists (upstream, models, as_of) VALUES ('LITELLM', '[{"id": "old", "label": "Old", "provider": null, "mode": "CHAT", "contextWindow": null, "maxOutputTokens": null, "capabilities": []}]', weir.now())`,
    );
    proxy.status = 503;
    const catalog = catalogOf();
    await catalog.start();
    expect(catalog.find('old')).toMatchObject({ fallbacks: [] });
  });

  it('a follower that fails does not make the list stale', async () => {
    const logger = memoryLogger();
    const catalog = catalogOf({ logger, onRefreshed: () => Promise.reject(new Error('no')) });
    await catalog.start();
    expect(shown(catalog)).toMatchObject({ stale: false, source: 'PROXY' });
    expect(logger.lines.some((line) => line.level === 'error')).toBe(true);
  });

  it('lists a direct upstream under the configured provider', async () => {
    proxy.ids = ['gpt-4o-mini', 'house-model', 'house-embed'];
    const source = new DirectModelSource({ baseUrl: `${proxy.url}/v1`, apiKey: 'key', provider: 'direct' });
    closing.push(() => source.close());
    const catalog = catalogOf({ source });
    await catalog.start();
    expect(shown(catalog)).toMatchObject({ stale: false, source: 'DIRECT' });
    expect(catalog.find('gpt-4o-mini')).toMatchObject({
      provider: 'direct',
      contextWindow: 128_000,
      maxOutputTokens: 16_384,
      capabilities: ['STREAMING'],
    });
    expect(catalog.find('house-model')).toMatchObject({ mode: 'CHAT', contextWindow: null });
    expect(catalog.find('house-embed')).toMatchObject({ mode: 'EMBEDDING' });
  });
});

describe('models of a caller', () => {
  const plan = (id: string, models: string[]): Plan => ({
    id,
    name: id,
    models,
    defaultModel: null,
    limits: {
      requestsPerMinute: null,
      tokensPerMinute: null,
      parallelCalls: null,
      maxOutputTokens: null,
      monthlyBudget: null,
    },
  });
  const plans = [plan('free', ['fast', 'retired']), plan('team', ['openai/*'])];
  const viewer = {
    userId: 'usr_1',
    organizationId: 'org_1',
    role: 'MEMBER',
    planId: 'free',
    tokenId: null,
    sessionId: null,
    expiresAtMs: null,
  } as const;

  const serviceOf = (catalog: ModelCatalog, priced: string[] = [], isLimited = false): ModelService =>
    new ModelService({
      catalog,
      plans: { list: async () => plans, byId: async (id) => plans.find((entry) => entry.id === id) ?? null },
      prices: { current: (id) => (priced.includes(id) ? ({} as PriceRecord) : null) },
      budgets: { applyTo: async () => isLimited },
    });

  it('are, under a budget, only those that have a price', async () => {
    const catalog = catalogOf();
    await catalog.start();
    const shownOf = async (service: ModelService) =>
      (await service.list({ ...viewer, planId: 'team' }, true)).items.map((model) => [
        model.id,
        model.available,
        model.unavailableReason,
      ]);
    const free = await shownOf(serviceOf(catalog));
    expect(free).toEqual([
      ['smart', true, null],
      ['fast', true, null],
    ]);
    const limited = serviceOf(catalog, ['smart'], true);
    expect(await shownOf(limited)).toEqual([
      ['smart', true, null],
      ['fast', false, 'UNPRICED_UNDER_BUDGET'],
    ]);
    expect((await limited.list({ ...viewer, planId: 'team' }, false)).items.map((model) => model.id)).toEqual([
      'smart',
    ]);
    expect(await limited.get({ ...viewer, planId: 'team' }, 'fast')).toMatchObject({
      available: false,
      unavailableReason: 'UNPRICED_UNDER_BUDGET',
    });
    // What the plan does not allow stays that.
    expect(await shownOf(limited).then(() => limited.get(viewer, 'smart'))).toMatchObject({
      unavailableReason: 'NOT_ON_PLAN',
    });
  });

  it('are those of the plan; the rest, with the reason, on request', async () => {
    const catalog = catalogOf();
    await catalog.start();
    const service = serviceOf(catalog);
    expect((await service.list(viewer, false)).items.map((model) => model.id)).toEqual(['fast']);
    const all = await service.list(viewer, true);
    expect(all).toMatchObject({ stale: false, source: 'PROXY' });
    expect(all.items.map((model) => [model.id, model.available, model.unavailableReason])).toEqual([
      ['smart', false, 'NOT_ON_PLAN'],
      ['fast', true, null],
      ['retired', false, 'GONE'],
    ]);
    expect(await service.get(viewer, 'smart')).toMatchObject({ available: false, unavailableReason: 'NOT_ON_PLAN' });
    expect(await service.get(viewer, 'retired')).toMatchObject({ unavailableReason: 'GONE' });
    expect(await service.get(viewer, 'unheard-of')).toBeNull();
    expect((await service.plansThatAllow('smart')).map((entry) => entry.id)).toEqual(['team']);
    expect((await service.plansThatAllow('fast')).map((entry) => entry.id)).toEqual(['free', 'team']);
    expect(await service.plansThatAllow('unheard-of')).toEqual([]);
    expect((await service.list({ ...viewer, planId: 'no such plan' }, false)).items).toEqual([]);
  });
});
