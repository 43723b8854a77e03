import { newestStart, proxyTime, readSpendRecord } from '../../src/services/litellm/spend-record';

/** As LiteLLM 1.108.7 writes them, without what nobody reads. */
const row = (fields: object = {}, metadata: object = {}): object => ({
  request_id: 'chatcmpl-1', spend: 0.00036, total_tokens: 120, prompt_tokens: 100, completion_tokens: 20, startTime: '2026-11-21T11:10:00.721000Z', model: 'openai/test-chat', model_id: 'test-chat-1',
  model_group: 'test-chat', status: 'success',
  metadata: {
    usage_object: { cost: 0.00036, total_tokens: 120, prompt_tokens: 100, completion_tokens: 20, prompt_tokens_details: { cached_tokens: 40, text_tokens: null }, completion_tokens_details: { reasoning_tokens: 5 } },
    attempted_retries: 1, attempted_fallbacks: 1, ...metadata,
  },
  ...fields,
});
const NONE = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };

it('reads who served a call, its tokens in disjoint buckets, and the proxy\'s own cost', () => {
  expect(readSpendRecord([row()])).toEqual({
    servedModel: 'test-chat', deployment: 'test-chat-1', attempts: 3, cost: '0.00036', serviceTier: null, raw: expect.objectContaining({ prompt_tokens: 100 }),
    tokens: { ...NONE, uncachedPrompt: 60, cacheRead: 40, output: 15, reasoning: 5 },
  });
});

it('takes the row\'s own columns where there is no usage object: a call that was cut off before its first token', () => {
  expect(readSpendRecord([row({ status: 'failure', prompt_tokens: 14, completion_tokens: 0, total_tokens: 14 }, { usage_object: {} })])!.tokens).toEqual({ ...NONE, uncachedPrompt: 14 });
});

it('says that nothing was used of a call that failed without tokens, and that it cannot tell of one that succeeded without', () => {
  const zeros = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, spend: 0 };
  expect(readSpendRecord([row({ ...zeros, status: 'failure' }, { usage_object: null })])).toMatchObject({ tokens: NONE, cost: null });
  expect(readSpendRecord([row(zeros, { usage_object: zeros })])).toMatchObject({ tokens: null });
});

it('does not believe absurd figures', () => {
  const absurd = { prompt_tokens: -5, completion_tokens: 3, total_tokens: -2 };
  expect(readSpendRecord([row(absurd, { usage_object: absurd })])!.tokens).toBeNull();
});

it('takes the row in which more was used: a call that was refused once and asked again has two', () => {
  const refused = row({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, spend: 0, status: 'failure' }, { usage_object: null });
  for (const rows of [[refused, row()], [row(), refused]]) expect(readSpendRecord(rows)!.tokens).toMatchObject({ uncachedPrompt: 60 });
});

it.each([[[]], [null], [{}], ['nothing']])('knows nothing from %j', (answer) => {
  expect(readSpendRecord(answer)).toBeNull();
});

it('survives rows of any shape', () => {
  expect(readSpendRecord([null, 3, { metadata: 'text', model_group: '' }])).toEqual({ servedModel: null, deployment: null, attempts: 1, tokens: null, raw: null, serviceTier: null, cost: null });
});

it('reads the begin of the newest record, and writes times as the proxy takes them', () => {
  expect(newestStart({ data: [{ startTime: '2026-11-21T11:10:22.192+00:00' }] })).toBe(Date.parse('2026-11-21T11:10:22.192Z'));
  expect([newestStart({ data: [] }), newestStart({}), newestStart({ data: [{ startTime: 'soon' }] })]).toEqual([null, null, null]);
  expect(decodeURIComponent(proxyTime(Date.parse('2026-11-21T11:10:22.192Z')))).toBe('2026-11-21 11:10:22');
});
