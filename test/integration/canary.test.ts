import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { createApp, type App } from '../../src/app';
import { ConfigError, readConfig } from '../../src/config';
import { createLogger, type RootLogger } from '../../src/lib/logger';
import { createRedactor, passwordsOf, REDACTED } from '../../src/lib/redact';
import { everyValue, findCanaries, type Canaries } from '../support/canaries';
import { asAdmin, createTestDatabase, type TestDatabase } from '../support/database';
import { createWorld, type World } from '../support/factories';
import { LitellmStandIn } from '../support/litellm-admin';
import { startLitellmFront, type LitellmFront } from '../support/litellm-front';
import { operation } from '../support/operations';
import { startProvider, type FakeProvider } from '../support/provider';
import { faults, type Script } from '../support/provider-script';
import { ask } from '../support/stream-fixture';
import { settledRows } from '../support/usage-rows';
import { eventually, waitFor } from '../support/wait';

const PROMPT = 'prompt-marker-that-is-no-secret';
const random = (): string => randomBytes(18).toString('hex');

/** Everything that left the product, whatever the way. */
class Outlets {
  readonly lines: string[] = [];
  readonly replies: { place: string; text: string }[] = [];
  readonly logger: RootLogger;

  constructor(known: (string | null)[]) {
    // As main.ts has it, at the level that says most.
    this.logger = createLogger({
      level: 'debug',
      redactor: createRedactor(known),
      write: (line) => void this.lines.push(line),
    });
  }

  async fetch(url: string, init: RequestInit = {}): Promise<string> {
    const response = await fetch(url, init);
    const text = await response.text();
    this.replies.push({
      place: `reply to ${String(init.body ?? url).slice(0, 120)}`,
      text: `${response.status} ${JSON.stringify([...response.headers])} ${text}`,
    });
    return text;
  }

  /** What Prometheus is told. */
  async fetchMetrics(): Promise<void> {
    const { url } = JSON.parse(this.lines.find((line) => line.includes('"msg":"metrics"'))!) as { url: string };
    expect(await this.fetch(url)).toContain('weir_calls_total{');
  }

  /**
   * One connection from its upgrade to its end: sends, and resolves when the server has closed it or `until` holds for
   * a message.
   */
  async socket(
    url: string,
    messages: unknown[],
    until: (message: { type?: string; id?: string }) => boolean,
    headers: Record<string, string> = {},
  ): Promise<void> {
    const socket = new WebSocket(url, 'graphql-transport-ws', { headers });
    const place = `socket after ${JSON.stringify(messages).slice(0, 120)}`;
    socket.on('message', (data) => {
      this.replies.push({ place, text: String(data) });
      let message: { type?: string; id?: string } = {};
      try {
        message = JSON.parse(String(data));
      } catch {
        // Not ours to understand.
      }
      if (message.type === 'connection_ack')
        for (const more of messages.slice(1)) socket.send(typeof more === 'string' ? more : JSON.stringify(more));
      if (until(message)) socket.close();
    });
    socket.on('close', (code, reason) => void this.replies.push({ place, text: `${code} ${String(reason)}` }));
    const closed = once(socket, 'close');
    await eventually(once(socket, 'open'), 'opening a socket');
    socket.send(typeof messages[0] === 'string' ? messages[0] : JSON.stringify(messages[0]));
    await eventually(closed, `the end of the ${place}`);
  }

  expectNone(canaries: Canaries, values: { place: string; text: string }[]): void {
    expect(
      findCanaries(
        canaries,
        this.lines.map((text) => ({ place: 'log', text })),
      ),
    ).toEqual([]);
    expect(findCanaries(canaries, this.replies)).toEqual([]);
    expect(findCanaries(canaries, values)).toEqual([]);
    // The search finds what is there.
    expect(findCanaries({ PROMPT }, values)).not.toEqual([]);
    expect(findCanaries({ PROMPT }, this.replies)).not.toEqual([]);
    expect(this.lines.join('')).toContain(REDACTED);
  }
}

/** Upstream answers that say secrets in every place where one was ever seen. */
const leaky = (secrets: string): Script[] => [
  faults.unauthorizedEcho(),
  {
    status: 403,
    body: ({ headers }) => ({
      error: {
        message: `key not allowed: ${headers.authorization} ${secrets}`,
        type: 'auth_error',
        param: null,
        code: '403',
      },
    }),
  },
  {
    status: 400,
    body: {
      error: { message: `bad request with ${secrets}`, type: 'invalid_request_error', param: secrets, code: secrets },
    },
  },
  {
    status: 400,
    body: {
      error: {
        message: `blocked by our safety system: ${secrets}`,
        type: 'invalid_request_error',
        param: null,
        code: 'content_policy_violation',
      },
    },
  },
  {
    status: 400,
    body: {
      error: {
        message: `maximum context length is 8192 tokens: ${secrets}`,
        type: 'invalid_request_error',
        param: null,
        code: 'context_length_exceeded',
      },
    },
  },
  {
    status: 404,
    body: {
      error: {
        message: `The model ${secrets} does not exist`,
        type: 'invalid_request_error',
        param: null,
        code: 'model_not_found',
      },
    },
  },
  {
    status: 503,
    headers: { 'retry-after': secrets },
    body: {
      error: { message: `no deployments available for ${secrets}`, type: 'server_error', param: null, code: null },
    },
  },
  { status: 504, body: secrets },
  {
    status: 429,
    headers: { 'retry-after': '1', 'x-debug-key': secrets },
    body: { error: { message: `limit of ${secrets}`, type: secrets, param: null, code: '429' } },
  },
  { status: 500, headers: { 'content-type': 'text/html' }, body: `<html>traceback: api_key=${secrets}</html>` },
  { status: 302, headers: { location: `http://127.0.0.1:1/?key=${secrets.replaceAll(' ', '+')}` }, body: '' },
  {
    pieces: ['fine'],
    headers: {
      'x-litellm-model-api-base': `https://user:${secrets.split(' ')[0]}@provider.example`,
      'set-cookie': `key=${secrets.split(' ')[0]}`,
    },
  },
  {
    pieces: [PROMPT, 'b'],
    errorAfter: { pieces: 1, error: { message: `broke with ${secrets}`, type: 'server_error', code: secrets } },
  },
  { pieces: [{ raw: `data: {"broken ${secrets}\n\n` }, 'b'] },
];

const CHAT = operation('chat');
const STREAM = operation('chat-stream');
const json = (token: string, body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

/** Calls and streams a model once with each of the upstream's answers. */
async function callWithEach(
  scripts: Script[],
  provider: FakeProvider,
  outlets: Outlets,
  url: string,
  token: string,
  conversationId: string,
): Promise<void> {
  for (const script of scripts) {
    provider.script('test-chat', script, script);
    await outlets.fetch(url, json(token, { query: CHAT, variables: { input: { ...ask(PROMPT), conversationId } } }));
    provider.always('test-chat', {});
    await outlets.socket(
      url.replace(/^http/, 'ws'),
      [
        { type: 'connection_init', payload: { authorization: `Bearer ${token}` } },
        { type: 'subscribe', id: '1', payload: { query: STREAM, variables: { input: ask(PROMPT) } } },
      ],
      ({ type, id }) => id === '1' && type !== 'next',
    );
  }
}

describe('secrets leave by no door', () => {
  let database: TestDatabase;
  let world: World;
  let provider: FakeProvider;
  let conversationId: string;
  const closers: (() => Promise<unknown>)[] = [];
  beforeEach(async () => {
    database = await createTestDatabase();
    world = await createWorld(database.db);
    provider = await startProvider();
    conversationId = `conv_${'0'.repeat(26)}`;
    await database.db.query('INSERT INTO conversations (id, organization_id, user_id) VALUES ($1, $2, $3)', [
      conversationId,
      world.organizationId,
      world.member.id,
    ]);
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await provider.close();
    await database.close();
  });

  async function start(env: Record<string, string>, outlets: Outlets): Promise<{ app: App; url: string }> {
    const app = await createApp(
      readConfig({ NODE_ENV: 'production', PORT: '0', METRICS_PORT: '0', SHUTDOWN_TIMEOUT_MS: '2000', ...env }),
      outlets.logger,
    );
    closers.push(() => app.stop());
    return { app, url: (await app.start()).url };
  }

  it('with a provider of its own: tokens, provider key, database password and secret key are in no log, reply, message or table', async () => {
    // None of the product's own secrets has a form that a pattern could know.
    const canaries: Canaries = {
      apiToken: world.member.token,
      unknownToken: `weir_${random()}`,
      providerKey: `provider${random()}`,
      databasePassword: `password${random()}`,
      secretKey: randomBytes(32).toString('base64'),
      virtualKeyLike: `sk-${random()}`,
      jwt: `eyJ${random()}.eyJ${random()}.${random()}`,
    };
    const { unknownToken, virtualKeyLike, jwt, apiToken, providerKey, databasePassword, secretKey } =
      canaries as Record<string, string> & Canaries;
    const role = `canary_${randomBytes(4).toString('hex')}`;
    await asAdmin(process.env.WEIR_TEST_PG!, `CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${databasePassword}'`);
    closers.push(() => asAdmin(process.env.WEIR_TEST_PG!, `DROP ROLE ${role}`));
    const databaseUrl = Object.assign(new URL(database.url), {
      username: role,
      password: databasePassword!,
    }).toString();
    const outlets = new Outlets([secretKey!, databaseUrl, ...passwordsOf(databaseUrl), providerKey!]);
    const env = {
      DATABASE_URL: databaseUrl,
      LLM_BASE_URL: provider.url,
      LLM_API_KEY: providerKey!,
      WEIR_SECRET_KEY: secretKey!,
    };

    // Start-up that fails: mistakes in the configuration, and a database that is not there.
    const mistakes = (): unknown =>
      readConfig({
        DATABASE_URL: `mysql://u:${databasePassword}@h/d`,
        LLM_BASE_URL: `ftp://${virtualKeyLike}@h`,
        WEIR_SECRET_KEY: virtualKeyLike!,
        AUTH_JWKS_URL: `nonsense ${jwt}`,
      });
    expect(mistakes).toThrow(ConfigError);
    try {
      mistakes();
    } catch (error) {
      outlets.replies.push({ place: 'configuration error', text: String(error) });
    }
    const elsewhere = databaseUrl.replace(/\/[^/]*$/, '/no_such_database');
    await expect(
      createApp(readConfig({ ...env, NODE_ENV: 'production', DATABASE_URL: elsewhere }), outlets.logger),
    ).rejects.toThrow();
    await createApp(readConfig({ ...env, NODE_ENV: 'production', DATABASE_URL: elsewhere }), outlets.logger).catch(
      (error: unknown) => outlets.logger.error({ err: error, url: elsewhere }, 'start-up failed'),
    );

    const { url, app } = await start(env, outlets);
    const own = `${virtualKeyLike} ${unknownToken} ${jwt}`;
    // Credentials that are wrong, in every place where somebody puts them.
    for (const authorization of [
      `Bearer ${unknownToken}`,
      `Bearer ${virtualKeyLike}`,
      `Bearer ${jwt}`,
      `Basic ${unknownToken}`,
      unknownToken!,
      `Bearer ${apiToken} ${unknownToken}`,
    ])
      await outlets.fetch(url, {
        ...json('', { query: '{ viewer { id } }' }),
        headers: { authorization, 'content-type': 'application/json' },
      });
    const valid = { 'content-type': 'application/json', authorization: `Bearer ${apiToken}` };
    await outlets.fetch(`${url}?token=${unknownToken}&query={viewer{id}}`);
    await outlets.fetch(
      `${url}?access_token=${apiToken}&query=${encodeURIComponent(`{ viewer { id(${virtualKeyLike}) } }`)}`,
      { headers: { ...valid, 'apollo-require-preflight': '1' } },
    );
    await outlets.fetch(`${new URL(url).origin}/${unknownToken}/${virtualKeyLike}`);
    await outlets.fetch(url, {
      ...json(apiToken!, { query: '{ viewer { id } }' }),
      headers: {
        ...valid,
        'x-api-key': virtualKeyLike!,
        cookie: `session=${jwt}`,
        'x-request-id': `a ${unknownToken}`,
        traceparent: unknownToken!,
      },
    });
    for (const contentType of [`application/${unknownToken}`, `application/json; charset=${virtualKeyLike}`])
      await outlets.fetch(url, { ...json('', '{}'), headers: { ...valid, 'content-type': contentType } });
    // Values that are refused: whoever words the refusal may quote them.
    const bodies: unknown[] = [
      `{"query": "${own}`,
      { query: own },
      { query: `{ ${unknownToken} }` },
      { query: `{ viewer { id @${unknownToken} } }` },
      { query: '{ viewer { id } }', operationName: unknownToken },
      { query: 'query { viewer { id } }', extensions: { persistedQuery: { version: 1, sha256Hash: virtualKeyLike } } },
      { query: 'query ($first: Int!) { calls(first: $first) { edges { cursor } } }', variables: { first: own } },
      { query: 'query ($after: String) { calls(after: $after) { edges { cursor } } }', variables: { after: own } },
      {
        query: 'query ($after: String) { projects(after: $after) { edges { cursor } } }',
        variables: { after: virtualKeyLike },
      },
      {
        query: 'query ($id: ID!) { node(id: $id) { id } conversation(id: $id) { id } model(id: $id) { id } }',
        variables: { id: virtualKeyLike },
      },
      { query: 'query ($search: String) { users(search: $search) { edges { cursor } } }', variables: { search: own } },
      { query: operation('usage'), variables: { filter: { userIds: [virtualKeyLike], [unknownToken!]: 1 } } },
      { query: operation('usage'), variables: { timeZone: virtualKeyLike } },
      { query: operation('usage'), variables: { groupBy: [virtualKeyLike] } },
      { query: operation('stop-stream'), variables: { streamId: virtualKeyLike } },
      { query: operation('revoke-api-token'), variables: { id: apiToken } },
      { query: operation('create-conversation'), variables: { input: { title: own.repeat(5) } } },
      { query: operation('create-api-token'), variables: { input: { name: own.repeat(5) } } },
      { query: operation('create-api-token'), variables: { input: { name: 'x', expiresAt: virtualKeyLike } } },
      { query: CHAT, variables: { input: { ...ask(PROMPT), temperature: virtualKeyLike } } },
      { query: CHAT, variables: { input: { ...ask(PROMPT), conversationId: virtualKeyLike } } },
      { query: CHAT, variables: { input: { ...ask(PROMPT), [unknownToken!]: 'x' } } },
      { query: CHAT, variables: { input: { messages: [{ role: unknownToken, content: virtualKeyLike }] } } },
      { query: CHAT, variables: { input: { messages: [{ role: 'USER', content: `${own}\0` }] } } },
      { query: CHAT, variables: { input: { ...ask(PROMPT), tools: [{ name: `${own}!` }] } } },
    ];
    // Twice: the second time another machine may execute it.
    for (const body of [...bodies, ...bodies]) await outlets.fetch(url, json(apiToken!, body));

    const websocketUrl = url.replace(/^http/, 'ws');
    const never = (): boolean => false;
    for (const payload of [
      { authorization: `Bearer ${unknownToken}` },
      { Authorization: virtualKeyLike },
      { headers: { authorization: `Bearer ${jwt}` } },
      { token: unknownToken },
      {},
    ])
      await outlets.socket(`${websocketUrl}?token=${unknownToken}`, [{ type: 'connection_init', payload }], never, {
        'x-api-key': virtualKeyLike!,
      });
    const init = { type: 'connection_init', payload: { authorization: `Bearer ${apiToken}` } };
    for (const payload of [
      { query: own },
      { query: `subscription { ${unknownToken} }` },
      { query: STREAM, variables: { input: { messages: [{ role: virtualKeyLike }] } } },
      { query: STREAM, variables: { input: { ...ask(PROMPT), [unknownToken!]: 1 } } },
      { query: STREAM, variables: { input: { ...ask(PROMPT), projectId: virtualKeyLike } } },
    ]) {
      await outlets.socket(
        websocketUrl,
        [init, { type: 'subscribe', id: '1', payload }],
        ({ type }) => type === 'error' || type === 'complete',
      );
    }
    await outlets.socket(websocketUrl, [init, `{"broken ${own}`], never);
    await outlets.socket(websocketUrl, [init, { type: virtualKeyLike }], never);

    await callWithEach(leaky(`${providerKey} ${own}`), provider, outlets, url, apiToken!, conversationId);
    // The one reply that has a secret by design; nothing else knows it.
    const created = JSON.parse(
      await (
        await fetch(
          url,
          json(apiToken!, { query: operation('create-api-token'), variables: { input: { name: 'new' } } }),
        )
      ).text(),
    );
    canaries.createdToken = created.data.createApiToken.secret;
    await outlets.fetch(url, json(canaries.createdToken!, { query: operation('viewer') }));
    // A connection of the database that is lost while it is used.
    const usual = outlets.lines.length;
    await database.db.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [role]);
    await waitFor(() => outlets.lines.slice(usual).some((line) => /connection/i.test(line)), {
      what: 'the log of a lost connection',
    });
    await waitFor(
      async () => (await outlets.fetch(url, json(apiToken!, { query: operation('viewer') }))).includes('"usageToday"'),
      { what: 'the server to be back' },
    );
    await outlets.fetch(`${new URL(url).origin}/health/ready`);
    await settledRows(database.db);
    await outlets.fetchMetrics();
    await app.stop();
    closers.pop();
    expect(outlets.lines.length).toBeGreaterThan(20);
    outlets.expectNone(canaries, await everyValue(database.db));
  });

  it('behind a LiteLLM: master key, virtual keys and provider keys in its lists and errors are nowhere, and the stored virtual key is not readable', async () => {
    const admin = await LitellmStandIn.start();
    closers.push(() => admin.stop());
    const canaries: Canaries = {
      masterKey: admin.masterKey,
      secretKey: randomBytes(32).toString('base64'),
      apiToken: world.member.token,
      providerKey: `sk-proj-${random()}`,
    };
    const price = { input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 };
    const front: LitellmFront = await startLitellmFront({
      admin,
      providerUrl: provider.url,
      deployments: [
        {
          model_name: 'test-chat',
          litellm_params: {
            model: 'openai/test-chat',
            api_key: canaries.providerKey,
            api_base: `https://user:${canaries.providerKey}@provider.example`,
          },
          model_info: { id: 'one', ...price, api_key: canaries.providerKey },
        },
      ],
    });
    closers.push(() => front.close());
    await database.db.query(`UPDATE plans SET models = '{test-chat}'`);
    const outlets = new Outlets([canaries.secretKey!, database.url, ...passwordsOf(database.url), canaries.masterKey!]);
    const { url, app } = await start(
      {
        DATABASE_URL: database.url,
        LLM_BASE_URL: front.baseUrl,
        LITELLM_MASTER_KEY: canaries.masterKey!,
        WEIR_SECRET_KEY: canaries.secretKey!,
      },
      outlets,
    );

    await outlets.fetch(
      url,
      json(world.member.token, { query: CHAT, variables: { input: { ...ask(PROMPT), conversationId } } }),
    );
    const [first] = provider.requests.filter(({ path }) => path === '/v1/chat/completions');
    canaries.virtualKey = first!.headers.authorization!.replace('Bearer ', '');
    expect(canaries.virtualKey).toMatch(/^sk-/);
    expect(canaries.virtualKey).not.toBe(canaries.masterKey);

    await callWithEach(
      leaky(`${canaries.providerKey} ${canaries.masterKey} ${canaries.virtualKey}`),
      provider,
      outlets,
      url,
      world.member.token,
      conversationId,
    );
    // The administration fails while keys are in its requests.
    admin.away = true;
    await outlets.fetch(
      url,
      json(world.admin.token, {
        query: operation('set-user-blocked'),
        variables: { userId: world.analyst.id, blocked: true },
      }),
    );
    await outlets.fetch(url, json(world.admin.token, { query: CHAT, variables: { input: ask(PROMPT) } }));
    await outlets.fetch(url, json(world.admin.token, { query: operation('users') }));
    await settledRows(database.db);
    await outlets.fetchMetrics();
    await app.stop();
    closers.pop();
    expect(await database.db.query('SELECT user_id FROM virtual_keys')).toContainEqual({ user_id: world.member.id });
    outlets.expectNone(canaries, await everyValue(database.db));
  });
});
