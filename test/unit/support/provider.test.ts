import OpenAI from 'openai';
import { forever, faults, gate } from '../../support/provider-script';
import { startProvider, type FakeProvider } from '../../support/provider';
import { eventually, waitFor } from '../../support/wait';

/**
 * The fake is judged by the SDK that real applications use: what it reads from a real provider it has to read from this
 * one.
 */
describe('the fake provider', () => {
  let provider: FakeProvider;
  let client: OpenAI;
  beforeEach(async () => {
    provider = await startProvider();
    client = new OpenAI({ baseURL: provider.url, apiKey: 'sk-test', maxRetries: 0 });
  });
  afterEach(() => provider.close());
  const messages = [{ role: 'user' as const, content: 'Grüße 👋' }];

  it('answers whole and streamed alike, to the last character, also one byte at a time', async () => {
    const whole = await client.chat.completions.create({ model: 'test-chat', messages });
    expect(whole.choices[0]?.message.content).toBe('You said: Grüße 👋');
    expect(whole.usage?.total_tokens).toBe(15);
    for (const wire of [
      {},
      { writeBytes: 1 },
      { lineEnd: '\r\n' as const, comments: true },
      { multiLine: true, noSpace: true },
    ]) {
      provider.script('test-chat', { wire });
      const stream = await client.chat.completions.create({
        model: 'test-chat',
        messages,
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = '';
      let usage: OpenAI.CompletionUsage | null | undefined;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage ?? usage;
      }
      expect(text).toBe('You said: Grüße 👋');
      expect(usage?.completion_tokens).toBe(4);
    }
    expect(provider.requests[0]).toMatchObject({
      path: '/v1/chat/completions',
      headers: { authorization: 'Bearer sk-test' },
      finished: true,
    });
  });

  it('knows when the caller has left, talking or silent', async () => {
    for (const script of [
      { hold: { after: 1, until: forever } },
      { pieces: Array<string>(10_000).fill('word '), pieceMs: 1 },
    ]) {
      const before = provider.requests.length;
      provider.script('test-chat', script);
      const abort = new AbortController();
      const stream = await client.chat.completions.create(
        { model: 'test-chat', messages, stream: true },
        { signal: abort.signal },
      );
      await stream[Symbol.asyncIterator]().next();
      abort.abort();
      const request = provider.requests[before]!;
      await eventually(request.closed, 'the end of the connection');
      expect(request.finished).toBe(false);
    }
    expect(provider.running).toBe(0);
  });

  it('fails as told, and goes on when the gate opens', async () => {
    provider.script(
      'test-chat',
      faults.unauthorizedEcho(),
      faults.rateLimited('3'),
      faults.badGatewayHtml(),
      faults.overloaded(),
    );
    for (const status of [401, 429, 502, 529])
      await expect(client.chat.completions.create({ model: 'test-chat', messages })).rejects.toMatchObject({ status });
    const head = gate();
    provider.script('test-chat', { holdHead: head });
    const answer = client.chat.completions.create({ model: 'test-chat', messages });
    await waitFor(() => provider.running === 1);
    head.open();
    await expect(answer).resolves.toBeDefined();
  });
});
