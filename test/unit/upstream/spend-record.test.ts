import {
  newestStart,
  proxyTime,
  readSpendRecord,
  type SpendRecord,
} from '../../../src/services/upstream/litellm/spend-record';

/** As LiteLLM 1.108.7 writes them, without what nobody reads. */
const row = (fields: object = {}, metadata: object = {}): object => ({
  request_id: 'chatcmpl-1',
  spend: 0.00036,
  total_tokens: 120,
  prompt_tokens: 100,
  completion_tokens: 20,
  startTime: '2026-11-21T11:10:00.721000Z',
  model: 'openai/test-chat',
  model_id: 'test-chat-1',
  model_group: 'test-chat',
  status: 'success',
  metadata: {
    usage_object: {
      cost: 0.00036,
      total_tokens: 120,
      prompt_tokens: 100,
      completion_tokens: 20,
      prompt_tokens_details: { cached_tokens: 40, text_tokens: null },
      completion_tokens_details: { reasoning_tokens: 5 },
    },
    attempted_retries: 1,
    attempted_fallbacks: 1,
    ...metadata,
  },
  ...fields,
});
const OWNER = { prefix: 'weir-1-', userId: 'usr_1' };
const read = (rows: unknown): SpendRecord | null => readSpendRecord(rows, OWNER);
const NONE = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };

it("reads who served a call, its tokens in disjoint buckets, and the proxy's own cost", () => {
  expect(read([row()])).toEqual({
    servedModel: 'test-chat',
    deployment: 'test-chat-1',
    attempts: 3,
    cost: '0.00036',
    fromCache: false,
    raw: expect.objectContaining({ prompt_tokens: 100 }),
    tokens: { ...NONE, uncachedPrompt: 60, cacheRead: 40, output: 15, reasoning: 5 },
  });
});

it("takes the row's own columns where there is no usage object: a call that was cut off before its first token", () => {
  expect(
    read([row({ status: 'failure', prompt_tokens: 14, completion_tokens: 0, total_tokens: 14 }, { usage_object: {} })])!
      .tokens,
  ).toEqual({ ...NONE, uncachedPrompt: 14 });
});

it('says that nothing was used of a call that failed without tokens, and that it cannot tell of one that succeeded without', () => {
  const zeros = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, spend: 0 };
  expect(read([row({ ...zeros, status: 'failure' }, { usage_object: null })])).toMatchObject({
    tokens: NONE,
    cost: null,
  });
  expect(read([row(zeros, { usage_object: zeros })])).toMatchObject({ tokens: null });
});

it("knows an answer from the proxy's cache, whose tokens are those of the first one and which cost nothing", () => {
  expect(read([row({ cache_hit: 'True', spend: 0 })])).toMatchObject({
    fromCache: true,
    cost: '0',
    tokens: { uncachedPrompt: 60 },
  });
  for (const cache_hit of ['None', 'False', '', null, undefined])
    expect(read([row({ cache_hit })])).toMatchObject({ fromCache: false, cost: '0.00036' });
});

it('does not believe absurd figures', () => {
  const absurd = { prompt_tokens: -5, completion_tokens: 3, total_tokens: -2 };
  expect(read([row(absurd, { usage_object: absurd })])!.tokens).toBeNull();
});

it('takes the row in which more was used: a call that was refused once and asked again has two', () => {
  const refused = row(
    { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, spend: 0, status: 'failure' },
    { usage_object: null },
  );
  for (const rows of [
    [refused, row()],
    [row(), refused],
  ])
    expect(read(rows)!.tokens).toMatchObject({ uncachedPrompt: 60 });
});

it('takes nothing that another key or team has paid for, however much was used; what a record does not tell rules nothing out, and counts last', () => {
  const paid = (keyAlias: string | null, teamId: string | null, n: number): object =>
    row(
      { team_id: teamId ?? '' },
      {
        user_api_key_alias: keyAlias,
        user_api_key_team_id: teamId,
        usage_object: { prompt_tokens: n, completion_tokens: 1 },
      },
    );
  const [own, unnamed] = [paid('weir-1-usr_1', 'weir-1-pln_1', 10), paid(null, null, 500)];
  const others = [
    paid('weir-1-usr_2', 'weir-1-pln_1', 900),
    paid('weir-2-usr_1', 'weir-2-pln_1', 900),
    paid('theirs', null, 900),
    paid('weir-1-usr_1', 'theirs', 900),
    paid(null, 'theirs', 900),
  ];
  for (const rows of [
    [own, unnamed, ...others],
    [...others, unnamed, own],
  ])
    expect(read(rows)!.tokens).toMatchObject({ uncachedPrompt: 10 });
  expect(read([...others, unnamed])!.tokens).toMatchObject({ uncachedPrompt: 500 });
  for (const other of others) expect(read([other])).toBeNull();
});

it.each([
  ['default', null],
  ['priority', 'priority'],
  [undefined, undefined],
  [null, undefined],
])('tells the usual service tier from one that is not told: %j', (service_tier, wanted) => {
  expect(read([row({}, { usage_object: { prompt_tokens: 5, completion_tokens: 1, service_tier } })])!.serviceTier).toBe(
    wanted,
  );
});

it.each([[[]], [null], [{}], ['nothing']])('knows nothing from %j', (answer) => {
  expect(read(answer)).toBeNull();
});

it('survives rows of any shape', () => {
  expect(read([null, 3, { metadata: 'text', model_group: '' }])).toEqual({
    servedModel: null,
    deployment: null,
    attempts: 1,
    tokens: null,
    raw: null,
    cost: null,
    fromCache: false,
  });
});

it('reads the begin of the newest record, and writes times as the proxy takes them', () => {
  expect(newestStart({ data: [{ startTime: '2026-11-21T11:10:22.192+00:00' }] })).toBe(
    Date.parse('2026-11-21T11:10:22.192Z'),
  );
  expect([newestStart({ data: [] }), newestStart({}), newestStart({ data: [{ startTime: 'soon' }] })]).toEqual([
    null,
    null,
    null,
  ]);
  expect(decodeURIComponent(proxyTime(Date.parse('2026-11-21T11:10:22.192Z')))).toBe('2026-11-21 11:10:22');
});
