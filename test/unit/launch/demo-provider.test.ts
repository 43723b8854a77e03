import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import OpenAI from 'openai';
import { startDemo, type RunningDemo } from '../../../launch/demo-provider';
import { KeepRunning } from '../../../launch/keep-running';
import { AT_ONCE_MS, waitFor } from '../../support/wait';

const repositoryRoot = path.resolve(__dirname, '../../..');
const NOTICE = "This is Weir's demonstration provider";
const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 } },
      required: ['city'],
    },
  },
};

describe('the demonstration provider', () => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-demo-'));
  let demo: RunningDemo;
  let client: OpenAI;

  beforeAll(async () => {
    demo = await startDemo({ home, repositoryRoot, tokenDelayMs: 0, env: process.env });
    client = new OpenAI({ baseURL: `${demo.url}/v1`, apiKey: 'any', maxRetries: 0 });
  });
  afterAll(async () => {
    await demo.stop();
    fs.rmSync(home, { recursive: true });
  });

  const ask = (content: string, more: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> = {}) =>
    client.chat.completions.create({ model: 'demo-small', messages: [{ role: 'user', content }], ...more });
  const textOf = (reply: OpenAI.ChatCompletion): string => reply.choices[0]!.message.content ?? '';

  it('lists its models with their limits', async () => {
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual([
      'demo-small',
      'demo-large',
      'demo-reasoner',
      'demo-vision',
      'demo-embedding',
    ]);
    expect(data[0]).toMatchObject({ object: 'model', max_input_tokens: 32_768 });
  });

  it('says in every answer that it is a demonstration, repeats the question and counts the messages', async () => {
    const reply = await ask('ignored', {
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'user', content: 'What is a weir?' },
      ],
    });
    expect(textOf(reply)).toContain(NOTICE);
    expect(textOf(reply)).toContain('2 messages');
    expect(textOf(reply)).toContain('What is a weir?');
    expect(reply.choices[0]!.finish_reason).toBe('stop');
    expect(reply.usage!.total_tokens).toBe(reply.usage!.prompt_tokens + reply.usage!.completion_tokens);
  });

  it('streams the same text that it gives whole, with usage at the end only when asked for', async () => {
    const question = 'Größe, 日本語 and 👩‍👩‍👧';
    const collect = async (include_usage: boolean) => {
      const stream = await client.chat.completions.create({
        model: 'demo-small',
        stream: true,
        stream_options: { include_usage },
        messages: [{ role: 'user', content: question }],
      });
      const chunks: OpenAI.ChatCompletionChunk[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    };
    const whole = await ask(question);
    const withUsage = await collect(true);
    expect(withUsage.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(textOf(whole));
    expect(withUsage.at(-1)).toMatchObject({
      choices: [],
      usage: { completion_tokens: whole.usage!.completion_tokens },
    });
    expect((await collect(false)).some((chunk) => chunk.usage)).toBe(false);
  });

  it('stops at the limit of tokens and says so', async () => {
    const reply = await ask('Hello', { max_tokens: 7 });
    expect(reply.choices[0]!.finish_reason).toBe('length');
    expect(reply.usage!.completion_tokens).toBe(7);
  });

  it('stops before a stop sequence', async () => {
    const reply = await ask('Hello', { stop: ['provider', 'zzz'] });
    expect(textOf(reply)).toBe("This is Weir's demonstration ");
    expect(reply.choices[0]!.finish_reason).toBe('stop');
  });

  it('gives as many words as are asked for', async () => {
    expect(textOf(await ask('Write 300 words')).split(' ')).toHaveLength(300);
  });

  it.each([
    ['it is demanded', { tool_choice: 'required' as const }, 'Hello'],
    ['it is named', { tool_choice: { type: 'function' as const, function: { name: 'get_weather' } } }, 'Hello'],
    ['the user asks for it', {}, 'Please use get_weather'],
  ])('calls a tool with arguments that fit when %s', async (_case, choice, question) => {
    const { message, finish_reason } = (await ask(question, { tools: [weather], ...choice })).choices[0]!;
    expect(finish_reason).toBe('tool_calls');
    expect(message.content).toBeNull();
    const [call] = message.tool_calls as OpenAI.ChatCompletionMessageFunctionToolCall[];
    expect(JSON.parse(call!.function.arguments)).toEqual({ city: `demonstration: ${question}`, days: 2 });
  });

  it('answers in text when tools are there and nobody asks for one, or when the tool has answered', async () => {
    expect(textOf(await ask('Hello', { tools: [weather] }))).toContain(NOTICE);
    const call = { id: 'call_1', type: 'function' as const, function: { name: 'get_weather', arguments: '{}' } };
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      { role: 'user', content: 'use get_weather' },
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: '22 degrees' },
    ];
    expect(textOf(await ask('', { tools: [weather], messages }))).toContain('The tool answered: 22 degrees');
  });

  it('fills in a JSON schema', async () => {
    const schema = {
      type: 'object',
      properties: {
        kind: { enum: ['a', 'b'] },
        score: { type: 'number', maximum: 0.5 },
        tags: { type: 'array', minItems: 2, items: { $ref: '#/$defs/tag' } },
        note: { anyOf: [{ type: 'null' }, { type: 'string', maxLength: 5 }] },
      },
      $defs: { tag: { type: 'string', minLength: 3 } },
    };
    const reply = await ask('x', { response_format: { type: 'json_schema', json_schema: { name: 'form', schema } } });
    expect(JSON.parse(textOf(reply))).toEqual({
      kind: 'a',
      score: 0.5,
      tags: ['demonstration: x', 'demonstration: x'],
      note: 'demon',
    });
    expect(JSON.parse(textOf(await ask('x', { response_format: { type: 'json_object' } })))).toMatchObject({
      messages: 1,
      question: 'x',
    });
  });

  it('counts images, and refuses them where the model takes none', async () => {
    const image = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AA==' } };
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      { role: 'user', content: [{ type: 'text', text: 'Look' }, image, image] },
    ];
    const reply = await ask('', { model: 'demo-vision', messages });
    expect(textOf(reply)).toContain('1 message with 2 images');
    expect(reply.usage!.prompt_tokens).toBeGreaterThan(170);
    await expect(ask('', { messages })).rejects.toMatchObject({ status: 400, param: 'messages' });
  });

  it('thinks before it answers if it is the reasoner, and counts that within the output', async () => {
    const reply = await ask('Hello', { model: 'demo-reasoner', reasoning_effort: 'high' });
    expect(reply.choices[0]!.message).toMatchObject({
      reasoning_content: expect.stringContaining('only pretend to think'),
      content: expect.stringContaining(NOTICE),
    });
    expect(reply.usage!.completion_tokens_details!.reasoning_tokens).toBe(80);
    expect(reply.usage!.completion_tokens).toBeGreaterThan(80);
  });

  it('reports the beginning of a conversation as cached when it comes again', async () => {
    const start: OpenAI.ChatCompletionMessageParam[] = [
      { role: 'system', content: 'A rule among many. '.repeat(30) },
      { role: 'user', content: 'First' },
    ];
    const first = await ask('', { model: 'demo-large', messages: start });
    const second = await ask('', {
      model: 'demo-large',
      messages: [...start, { role: 'assistant', content: textOf(first) }, { role: 'user', content: 'Second' }],
    });
    expect(first.usage!.prompt_tokens_details!.cached_tokens).toBe(0);
    expect(second.usage!.prompt_tokens_details!.cached_tokens).toBe(first.usage!.prompt_tokens);
  });

  it('embeds: the same text the same, texts with common words nearer', async () => {
    const { data, usage } = await client.embeddings.create({
      model: 'demo-embedding',
      input: ['the red house', 'the red barn', 'quantum chromodynamics'],
    });
    const near = (a: number, b: number): number =>
      data[a]!.embedding.reduce((sum, value, i) => sum + value * data[b]!.embedding[i]!, 0);
    expect(data[0]!.embedding).toHaveLength(256);
    expect(near(0, 0)).toBeCloseTo(1, 4);
    expect(near(0, 1)).toBeGreaterThan(near(0, 2));
    expect(usage.prompt_tokens).toBeGreaterThan(5);
  });

  it.each([
    ['an unknown model', { model: 'demo-none' }, { status: 404, code: 'model_not_found' }],
    ['an embedding model for chat', { model: 'demo-embedding' }, { status: 400, param: 'model' }],
    ['no messages', { messages: [] }, { status: 400, param: 'messages' }],
    [
      'more than the context',
      { messages: [{ role: 'user' as const, content: 'word '.repeat(33_000) }] },
      { status: 400, code: 'context_length_exceeded' },
    ],
  ])('refuses %s like OpenAI does', async (_case, body, error) => {
    await expect(ask('Hello', body)).rejects.toMatchObject(error);
  });

  it('that is killed is there again, at the address that others know', async () => {
    const stop = new AbortController();
    const said: string[] = [];
    const kept = new KeepRunning<RunningDemo>({
      title: 'It',
      say: (text) => said.push(text),
      hint: ({ log }) => log,
      signal: stop.signal,
      waitsMs: [1],
      start: (before) =>
        startDemo({
          home: path.join(home, 'kept'),
          repositoryRoot,
          port: before ? Number(new URL(before.url).port) : 0,
          env: process.env,
        }),
    });
    const { url, pid } = await kept.first;
    process.kill(pid, 'SIGKILL');
    await waitFor(() => said.length > 0, { what: 'a word about it' });
    await waitFor(async () => (await fetch(`${url}/health`)).ok, { what: 'the new one' });
    stop.abort();
    await kept.stop();
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });

  it('stops as soon as the caller closes the connection', async () => {
    const slow = await startDemo({ home: path.join(home, 'slow'), repositoryRoot, tokenDelayMs: 50, env: process.env });
    const running = async (): Promise<number> =>
      ((await (await fetch(`${slow.url}/health`)).json()) as { running: number }).running;
    try {
      const stop = new AbortController();
      const body = JSON.stringify({
        model: 'demo-small',
        stream: true,
        messages: [{ role: 'user', content: 'Write 5000 words' }],
      });
      const response = await fetch(`${slow.url}/v1/chat/completions`, { method: 'POST', body, signal: stop.signal });
      await response.body!.getReader().read();
      expect(await running()).toBe(1);
      stop.abort();
      await waitFor(async () => (await running()) === 0, { deadlineMs: AT_ONCE_MS, what: 'the end of the answer' });
    } finally {
      await slow.stop();
    }
  });
});
