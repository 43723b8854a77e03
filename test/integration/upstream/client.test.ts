import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { CompletionClient } from '../../../src/services/upstream/litellm/client';
import { Answer } from '../../../src/services/pipeline/operations/answer';
import type { Piece } from '../../../src/services/pipeline/operation';
import type { SpendMetadata, UpstreamRequest } from '../../../src/services/upstream/upstream';
import { watchLag } from '../../support/lag';
import { forever, type Script } from '../../support/provider-script';
import { startProvider, type FakeProvider } from '../../support/provider';
import type { UpstreamError } from '../../../src/services/upstream/errors';
import { collectorHooks } from '../../support/collector-hooks';

let provider: FakeProvider;
let client: CompletionClient;
beforeAll(async () => {
  provider = await startProvider();
  client = new CompletionClient({
    kind: 'DIRECT',
    baseUrl: provider.url,
    timeouts: { connectMs: 500, firstByteMs: 300, idleMs: 300 },
    maxAnswerBytes: 64 * 1024,
  });
});
afterAll(async () => {
  await client.close();
  await provider.close();
});

const metadata: SpendMetadata = {
  weir: {
    installation: 'one',
    call: 'call_1',
    org: 'org_1',
    user: 'usr_1',
    operation: 'CHAT',
    door: 'GRAPHQL',
    scenario: 'DEFAULT',
  },
  trace_id: 'trace',
};

async function ask(
  stream: boolean,
  script: Script,
  signal = new AbortController().signal,
): Promise<{ answer: Answer; pieces: Piece[]; error: UpstreamError | null }> {
  provider.script('test-chat', script);
  const pieces: Piece[] = [];
  const answer = new Answer(collectorHooks({ onPiece: (piece) => pieces.push(piece) }));
  const base = { model: 'test-chat', messages: [{ role: 'user' as const, content: 'hello' }], max_tokens: 10 };
  const request: UpstreamRequest = {
    path: '/chat/completions',
    callId: 'call_1',
    apiKey: 'sk-test',
    metadata,
    timeoutMs: 600_000,
    signal,
    body: (stream
      ? { ...base, stream: true, stream_options: { include_usage: true } }
      : base) as UpstreamRequest['body'],
  };
  const error = await client.run(request, answer).then(
    () => null,
    (e: unknown) => e as UpstreamError,
  );
  return { answer, pieces, error };
}
const TEXT = ['Grüße ', '👩🏽‍🚀', ' שלום', ' \ud83d', ' done'];

describe('a stream', () => {
  it.each([
    ['plain', {}],
    ['one byte a write', { writeBytes: 1 }],
    ['CR LF', { lineEnd: '\r\n' as const }],
    ['CR alone', { lineEnd: '\r' as const }],
    ['comments, several data lines, no space', { comments: true, multiLine: true, noSpace: true }],
  ])('gives every character in order: %s', async (_name, wire) => {
    const { answer, error } = await ask(true, { pieces: TEXT, wire });
    expect(error).toBeNull();
    expect(answer.content).toBe(TEXT.join(''));
    expect(answer.finishReason).toBe('STOP');
    expect(answer.usageSeen).toMatchObject({ fromProvider: true, tokens: { uncachedPrompt: 11, output: 5 } });
  });

  it('is whole without [DONE] and without usage', async () => {
    const { answer, error } = await ask(true, { pieces: ['a'], done: false, usage: null });
    expect(error).toBeNull();
    expect(answer.usageSeen).toBeNull();
  });

  it('takes the last of two usages and refuses an absurd one', async () => {
    const usage = { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11 };
    expect(
      (await ask(true, { pieces: ['a'], usage: [{ ...usage, completion_tokens: 1 }, usage] })).answer.usageSeen?.tokens
        .output,
    ).toBe(6);
    expect(
      (await ask(true, { pieces: ['a'], usage: { ...usage, completion_tokens: -6 } })).answer.usageSeen,
    ).toBeNull();
    expect(
      (await ask(true, { pieces: ['a'], usage: { ...usage, prompt_tokens_details: { cached_tokens: 9 } } })).answer
        .usageSeen,
    ).toBeNull();
  });

  it.each([
    ['flex', 'flex'],
    ['Priority', 'priority'],
    ['default', null],
    ['standard', null],
    ['no tier', null],
    [7, null],
    [undefined, null],
  ])('knows the service tier %p as %p, whole or streamed', async (said, tier) => {
    const usage = { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11, service_tier: said } as never;
    for (const stream of [true, false])
      expect((await ask(stream, { pieces: ['a'], usage })).answer.usageSeen).toMatchObject({ serviceTier: tier });
  });

  it('keeps of a usage object what can be stored, and takes no word of the upstream for a name of ours', async () => {
    let deep: object = {};
    for (let i = 0; i < 500; i += 1) deep = { deep };
    const usage = {
      prompt_tokens: 5,
      completion_tokens: 6,
      total_tokens: 11,
      'x\0y': 1,
      deep,
      note: 'x'.repeat(1_000),
    } as never;
    const { answer, error } = await ask(true, { pieces: ['a'], usage, finishReason: 'constructor' });
    expect(error).toBeNull();
    expect(Object.keys(answer.usageSeen!.raw)).toEqual(['prompt_tokens', 'completion_tokens', 'total_tokens', 'deep']);
    expect(answer.finishReason).toBe('OTHER');
  });

  it.each<[string, Script, object, string]>([
    [
      'an error object in the middle',
      {
        pieces: ['a', 'b'],
        errorAfter: { pieces: 1, error: { message: 'litellm.APIConnectionError', type: null, code: '500' } },
      },
      { kind: 'INTERRUPTED' },
      'a',
    ],
    ['a cut connection', { pieces: ['a', 'b'], cutAfter: 1 }, { kind: 'INTERRUPTED' }, 'a'],
    [
      'half of a JSON text',
      { pieces: ['a', { raw: 'data: {"choices":[{"delta":{"content":"b"\n\n' }] },
      { kind: 'INTERRUPTED' },
      'a',
    ],
    ['silence before the head', { holdHead: forever }, { kind: 'TIMEOUT' }, ''],
    ['silence between pieces', { pieces: ['a', 'b'], hold: { after: 1, until: forever } }, { kind: 'TIMEOUT' }, 'a'],
    [
      'an event of another shape',
      { pieces: ['a', { raw: 'data: {"choices":[{"index":0,"delta":{"tool_calls":{}}}]}\n\n' }] },
      { kind: 'INTERRUPTED' },
      'a',
    ],
    [
      'nulls where objects belong',
      { pieces: ['a', { raw: 'data: {"choices":[{"index":0,"delta":{"tool_calls":[null]}}]}\n\n' }] },
      { kind: 'INTERRUPTED' },
      'a',
    ],
    ['an endless event', { pieces: ['a', { raw: `data: ${'x'.repeat(200_000)}` }] }, { kind: 'INTERRUPTED' }, 'a'],
  ])('keeps what came before %s', async (_name, script, expected, content) => {
    const { answer, error } = await ask(true, script);
    expect(error).toMatchObject(expected);
    expect(answer.content).toBe(content);
  });

  it('closes the upstream within 100 ms when it is stopped, also while that is silent', async () => {
    const abort = new AbortController();
    const index = provider.requests.length;
    const asked = ask(true, { pieces: ['a', 'b'], hold: { after: 1, until: forever } }, abort.signal);
    const request = await provider.completion(index);
    const lag = watchLag();
    const stoppedAt = performance.now();
    abort.abort();
    expect((await asked).error).toMatchObject({ kind: 'ABORTED' });
    await request.closed;
    expect(request.closedAt! - stoppedAt - lag.stop()).toBeLessThan(100);
  });
});

describe('an upstream that cannot be talked to', () => {
  /** A server of bytes. */
  async function behind(answer: (socket: Socket) => void, scheme = 'http'): Promise<UpstreamError | null> {
    const server = createServer(answer).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const other = new CompletionClient({
      kind: 'DIRECT',
      baseUrl: `${scheme}://127.0.0.1:${port}/v1`,
      timeouts: { connectMs: 500, firstByteMs: 300, idleMs: 300 },
    });
    const body = {
      model: 'm',
      messages: [{ role: 'user' as const, content: 'hello' }],
      max_tokens: 10,
      stream: true as const,
    };
    const answered = new Answer(collectorHooks());
    try {
      return await other
        .run(
          {
            path: '/chat/completions',
            callId: 'call_1',
            apiKey: null,
            metadata,
            timeoutMs: 600_000,
            signal: new AbortController().signal,
            body,
          },
          answered,
        )
        .then(
          () => null,
          (e: unknown) => e as UpstreamError,
        );
    } finally {
      expect([answered.isEmpty, answered.headSeen]).toEqual([true, null]);
      await other.close();
      server.close();
    }
  }

  it.each<[string, (socket: Socket) => void, string]>([
    ['resets the TLS handshake', (socket) => void socket.once('data', () => socket.resetAndDestroy()), 'https'],
    [
      'answers a TLS handshake with something else',
      (socket) => void socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')),
      'https',
    ],
    ['closes every connection at once', (socket) => void socket.destroy(), 'http'],
    ['resets when it has the request', (socket) => void socket.once('data', () => socket.resetAndDestroy()), 'http'],
    [
      'talks another protocol',
      (socket) => void socket.once('data', () => socket.end('220 mail.example.com ESMTP\r\n')),
      'http',
    ],
  ])('that %s is unavailable, which may pass, and nothing has begun', async (_name, answer, scheme) => {
    expect(await behind((socket) => answer(socket.on('error', () => {})), scheme)).toMatchObject({
      kind: 'MODEL_UNAVAILABLE',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
  });

  it.each([
    ['http', 'takes the request'],
    ['https', 'takes a TLS handshake'],
  ])('that %s %s and says nothing more is given up at the deadline', async (scheme) => {
    expect(await behind(() => {}, scheme)).toMatchObject({
      retryable: true,
      kind: expect.stringMatching(/TIMEOUT|MODEL_UNAVAILABLE/),
    });
  });
});

describe('a whole answer', () => {
  it("that is null is what a proxy makes of a provider's refusal, and from a provider itself a fault that may pass", async () => {
    const nothing: Script = { status: 200, body: 'null' };
    expect((await ask(false, nothing)).error).toMatchObject({ kind: 'FAILED', retryable: true });
    const proxy = new CompletionClient({
      kind: 'LITELLM',
      baseUrl: provider.url,
      timeouts: { connectMs: 500, firstByteMs: 300, idleMs: 300 },
    });
    provider.script('test-chat', nothing);
    const body = { model: 'test-chat', messages: [{ role: 'user' as const, content: 'hello' }], max_tokens: 10 };
    const asked = proxy.run(
      {
        path: '/chat/completions',
        callId: 'call_1',
        apiKey: null,
        metadata,
        timeoutMs: 600_000,
        signal: new AbortController().signal,
        body,
      },
      new Answer(collectorHooks()),
    );
    await expect(asked).rejects.toMatchObject({ kind: 'INVALID_REQUEST', retryable: false });
    await proxy.close();
  });

  it('passes text, reasoning and tool calls', async () => {
    const { answer, error } = await ask(false, {
      pieces: [{ reasoning: 'hm' }, 'text', { toolCall: { id: 't1', name: 'look', arguments: '{"a":1}' } }],
      finishReason: 'tool_calls',
    });
    expect(error).toBeNull();
    expect(answer).toMatchObject({
      content: 'text',
      reasoningText: 'hm',
      finishReason: 'TOOL_CALLS',
      toolCalls: [{ toolCallId: 't1', name: 'look', arguments: '{"a":1}' }],
    });
  });

  it('is refused when it is larger than allowed', async () => {
    expect((await ask(false, { pieces: ['x'.repeat(100_000)] })).error).toMatchObject({ kind: 'FAILED' });
  });
});
