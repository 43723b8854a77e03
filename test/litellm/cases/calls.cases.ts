import { Decimal } from '../../../src/lib/decimal';
import type { LitellmRig } from '../../support/litellm-rig';
import { PROVIDER_KEY, PROVIDERS_SMALL } from '../../support/litellm-models';
import { faults } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';

const USAGE = {
  prompt_tokens: 1_000,
  completion_tokens: 300,
  total_tokens: 1_300,
  prompt_tokens_details: { cached_tokens: 400 },
  completion_tokens_details: { reasoning_tokens: 100 },
};
const CHAT_COST =
  'mutation ($input: ChatInput!) { chat(input: $input) { __typename ... on ChatReply { call { id } cost { total input cacheRead output reasoning reportedByProxy } route { servedModel attempts } } } }';

/** The proxy adds up in floats: its figure with fifteen digits is what it meant. */
export const asMeant = (float: string | number): string => Decimal.parse(Number(float).toPrecision(15)).toString();

export function callCases(rig: LitellmRig): void {
  const chat = async (input: Record<string, unknown>): Promise<any> => {
    const user = await rig.user();
    const { data, errors } = await rig.app.chat(user.token, input);
    expect(errors).toBeNull();
    return data!.chat;
  };

  it('answers, with the usage and the route', async () => {
    const reply = await chat(ask('good morning', { maxTokens: 77 }));
    expect(reply).toMatchObject({
      __typename: 'ChatReply',
      finishReason: 'STOP',
      answer: { content: 'You said: good morning', complete: true },
      usage: { promptTokens: 11, completionTokens: 4, source: 'PROVIDER' },
      route: { model: 'test-chat', servedModel: 'test-chat', upstream: 'LITELLM', provider: 'openai', attempts: 1 },
    });
    const { body, headers } = rig.litellm.provider.requests.at(-1)!;
    expect(body.max_tokens).toBe(77);
    expect(headers.authorization).toBe(`Bearer ${PROVIDER_KEY}`);
    // Whose key it was is between the product and the proxy.
    expect(JSON.stringify(body)).not.toMatch(/sk-|weir_/);
  });

  it('[25, 26] costs what the proxy says that it costs, to the last digit, with cached tokens inside the prompt and reasoning inside the completion', async () => {
    const user = await rig.user();
    rig.litellm.provider.script('test-chat', { usage: USAGE });
    rig.litellm.provider.script('test-reasoner', { usage: USAGE });
    for (const [model, total] of [
      ['test-chat', '0.0046'],
      ['test-reasoner', '0.00034'],
    ] as const) {
      const { data } = await rig.app.graphql(user.token, CHAT_COST, { input: ask('hello', { model }) });
      const { cost, call } = data.chat;
      expect(cost.total).toBe(total);
      expect(asMeant(cost.reportedByProxy)).toBe(total);
      const row = await settledRow(rig.database.db, call.id);
      expect(row).toMatchObject({
        uncached_prompt_tokens: 600,
        cache_read_tokens: 400,
        output_tokens: 200,
        reasoning_tokens: 100,
        usage_source: 'PROVIDER',
        raw_usage: expect.objectContaining({ prompt_tokens: 1_000 }),
      });
    }
  });

  it('[25] has no cost where the model has no price: the header is not there', async () => {
    const { headers } = await rig.litellm.complete('test-unpriced');
    expect(headers.get('x-litellm-response-cost')).toBeNull();
    expect(await chat(ask('hello', { model: 'test-unpriced' }))).toMatchObject({ __typename: 'ChatReply', cost: null });
  });

  it('[23] is priced by the deployment that served it, which the row names', async () => {
    const user = await rig.user();
    const price: Record<string, string> = { 'test-two-a': '0.000017', 'test-two-b': '0.000045' };
    const seen = new Set<string>();
    // The proxy chooses by lot.
    for (let i = 0; i < 40 && seen.size < 2; i += 1) {
      const { data } = await rig.app.chat(user.token, ask('hello', { model: 'test-two' }));
      const row = (await settledRow(rig.database.db, data!.chat.call.id)) as any;
      expect(row.cost).toBe(price[row.deployment]);
      expect(asMeant(row.proxy_cost)).toBe(price[row.deployment]);
      expect(row.price_number).not.toBeNull();
      seen.add(row.deployment);
    }
    expect([...seen].sort()).toEqual(['test-two-a', 'test-two-b']);
  });

  it('[23, 24] of a model whose provider fails is served by its fallback: the headers name it, the body has the name that its provider uses', async () => {
    const fail = (): void => rig.litellm.provider.script('test-primary', faults.internal(), faults.internal());
    fail();
    const { headers, body } = await rig.litellm.complete('test-primary');
    expect(headers.get('x-litellm-model-group')).toBe('test-small');
    expect(headers.get('x-litellm-model-id')).toBe('test-small-1');
    expect(headers.get('x-litellm-attempted-fallbacks')).toBe('1');
    expect(body.model).toBe(PROVIDERS_SMALL);

    fail();
    const reply = await chat(ask('hello', { model: 'test-primary' }));
    expect(reply).toMatchObject({
      __typename: 'ChatReply',
      route: { model: 'test-primary', servedModel: 'test-small' },
      cost: { total: '0.00000345' },
    });
    expect(reply.route.attempts).toBeGreaterThan(1);
    const row = (await settledRow(rig.database.db, reply.call.id)) as any;
    expect(row).toMatchObject({
      model: 'test-primary',
      served_model: 'test-small',
      deployment: 'test-small-1',
      cost: '0.00000345',
    });
  });

  it('[24] that succeeds after a retry of the proxy says so', async () => {
    rig.litellm.provider.script('test-chat', faults.internal());
    const { status, headers } = await rig.litellm.complete('test-chat');
    expect([status, headers.get('x-litellm-attempted-retries'), headers.get('x-litellm-attempted-fallbacks')]).toEqual([
      200,
      '1',
      '0',
    ]);
    rig.litellm.provider.script('test-chat', faults.internal());
    expect(await chat(ask('hello'))).toMatchObject({ __typename: 'ChatReply', route: { attempts: 2 } });
  });

  it('[27] whose provider gives no usage gets zeros from the proxy, and is counted by us as an estimate', async () => {
    const silent = (): void => rig.litellm.provider.script('test-chat', { usage: null });
    silent();
    const { body } = await rig.litellm.complete('test-chat');
    expect(body.usage).toMatchObject({ prompt_tokens: 0, completion_tokens: 0 });
    silent();
    const reply = await chat(ask('hello'));
    expect(reply.usage.source).toBe('ESTIMATED');
    expect(reply.usage.promptTokens).toBeGreaterThan(0);
    expect(reply.usage.completionTokens).toBeGreaterThan(0);
    expect(Number(reply.cost.total)).toBeGreaterThan(0);
  });

  it('[28] passes tools, images, structured output and reasoning through, both ways', async () => {
    const parameters = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    };
    const image =
      'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
    rig.litellm.provider.script('test-chat', {
      pieces: [
        { toolCall: { id: 'call_w', name: 'weather', arguments: '{"city":' } },
        { toolCall: { arguments: '"Kiel"}' } },
      ],
    });
    const reply = await chat({
      model: 'test-chat',
      tools: [{ name: 'weather', description: 'Says it', parameters, strict: true }],
      toolChoice: 'TOOL',
      toolName: 'weather',
      parallelToolCalls: false,
      responseFormat: { type: 'JSON_SCHEMA', name: 'place', schema: parameters, strict: true },
      messages: [
        { role: 'USER', parts: [{ text: 'What is this?' }, { imageUrl: image, imageDetail: 'LOW' }] },
        { role: 'ASSISTANT', toolCalls: [{ toolCallId: 'call_v', name: 'weather', arguments: '{"city":"Bonn"}' }] },
        { role: 'TOOL', toolCallId: 'call_v', content: 'rain' },
      ],
    });
    expect(reply).toMatchObject({
      finishReason: 'TOOL_CALLS',
      answer: { toolCalls: [{ toolCallId: 'call_w', name: 'weather', arguments: '{"city":"Kiel"}' }] },
    });
    expect(rig.litellm.provider.requests.at(-1)!.body).toMatchObject({
      tools: [{ type: 'function', function: { name: 'weather', parameters, strict: true } }],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      parallel_tool_calls: false,
      response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true } },
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is this?' },
            { type: 'image_url', image_url: { url: image, detail: 'low' } },
          ],
        },
        {
          role: 'assistant',
          tool_calls: [{ id: 'call_v', function: { name: 'weather', arguments: '{"city":"Bonn"}' } }],
        },
        { role: 'tool', tool_call_id: 'call_v', content: 'rain' },
      ],
    });

    rig.litellm.provider.script('test-reasoner', { pieces: [{ reasoning: 'Let me think.' }, 'Four.'] });
    const thought = await chat(ask('2 + 2?', { model: 'test-reasoner', reasoningEffort: 'LOW' }));
    expect(thought.answer).toMatchObject({ reasoning: 'Let me think.', content: 'Four.' });
    expect(rig.litellm.provider.requests.at(-1)!.body.reasoning_effort).toBe('low');
  });
}
