import { countTokens } from '../../../src/lib/token-estimate';
import type { ChatInput, MessageInput } from '../../../src/domain/chat';
import { plausible, worstCaseCost } from '../../../src/services/ledger/bound';
import type { CatalogModel } from '../../../src/domain/model';
import type { TokenBuckets } from '../../../src/domain/money';
import { imageTokensAtMost } from '../../../src/services/pipeline/operations/image-tokens';
import { PromptBound } from '../../../src/services/pipeline/operations/prompt-bound';

const model = (id: string, provider: string | null = 'openai', fallbacks: string[] = []): CatalogModel => ({
  id,
  label: id,
  provider,
  mode: 'CHAT',
  contextWindow: null,
  maxOutputTokens: null,
  capabilities: [],
  fallbacks,
});
const GPT = model('gpt-4o');
const CLAUDE = model('claude-sonnet-4-5', 'anthropic');
const input = (fields: Partial<ChatInput> = {}): ChatInput => ({ scenario: 'DEFAULT', messages: [], ...fields });
const user = (content: string): MessageInput => ({ role: 'USER', content });
const bound = (
  messages: MessageInput[],
  asked: CatalogModel = CLAUDE,
  fields: Partial<ChatInput> = {},
  ...models: CatalogModel[]
): number => new PromptBound(messages, input(fields)).tokensFor(asked, new Map(models.map((one) => [one.id, one])));
const PROSE = 'The quick brown fox jumps over the lazy dog, and then it sleeps. ';
// A call with one short message, without its text.
const EMPTY = bound([user('.')]) - 1;

describe('the bound of a prompt', () => {
  it('is the bytes of its texts where the vocabulary is not known, and something around each message', () => {
    expect(bound([user('hello')]) - EMPTY).toBe(5);
    expect(bound([user('Größe')]) - EMPTY).toBe(7);
    expect(bound([user('你好')]) - EMPTY).toBe(6);
    expect(bound([user('a'), user('b')])).toBeGreaterThan(bound([user('ab')]));
  });

  it('is their bytes without the tokenizer, which is never less', () => {
    for (const text of [PROSE, 'Größe 你好', 'x'.repeat(3_000)]) {
      const prompt = new PromptBound([user(text)], input());
      expect(prompt.bytesFor(GPT)).toBe(prompt.bytesFor(CLAUDE));
      expect(prompt.bytesFor(GPT)).toBeGreaterThanOrEqual(prompt.tokensFor(GPT));
      expect(prompt.bytesFor(CLAUDE)).toBe(prompt.tokensFor(CLAUDE));
    }
  });

  it('is the tokens of its texts where the vocabulary is known', () => {
    expect(bound([user(PROSE.repeat(20))], GPT) - EMPTY).toBe(countTokens(PROSE.repeat(20)));
    for (const id of [
      'gpt-4o-mini',
      'gpt-4o-2024-08-06',
      'openai/gpt-4.1-nano',
      'gpt-5',
      'gpt-5-mini',
      'o1',
      'o3-mini',
      'o4-mini',
      'chatgpt-4o-latest',
    ]) {
      expect(bound([user(PROSE)], model(id))).toBe(bound([user(PROSE)], GPT));
      expect(bound([user(PROSE)], model(id, 'azure'))).toBe(bound([user(PROSE)], GPT));
    }
  });

  it('believes neither an older vocabulary, nor a later model, nor a known name at another provider to be the known one', () => {
    for (const other of [
      model('gpt-4'),
      model('gpt-3.5-turbo'),
      model('gpt-5.6'),
      model('gpt-6-luna'),
      model('o5'),
      model('test-chat'),
      model('gpt-4o', 'ollama'),
      model('gpt-4o', null),
    ])
      expect(bound([user(PROSE)], other)).toBe(bound([user(PROSE)], CLAUDE));
  });

  it("is that of the model's fallbacks, too: one of unknown vocabulary, or that is not in the catalogue, makes it bytes", () => {
    const text = [user(PROSE)];
    expect(bound(text, model('gpt-4o', 'openai', ['gpt-5']), {}, model('gpt-5'))).toBe(bound(text, GPT));
    expect(bound(text, model('gpt-4o', 'openai', ['gpt-5', CLAUDE.id]), {}, model('gpt-5'), CLAUDE)).toBe(
      bound(text, CLAUDE),
    );
    expect(bound(text, model('gpt-4o', 'openai', ['gone']))).toBe(bound(text, CLAUDE));
  });

  it('of a long prompt is its bytes for every model: to count it would hold up everybody', () => {
    const long = PROSE.repeat(1_000);
    expect(bound([user(long)], GPT) - EMPTY).toBe(long.length);
  });

  it('counts a long word as its bytes, and what is around it as tokens', () => {
    const word = 'x'.repeat(500);
    const counted = bound([user(`${PROSE}${word} ${PROSE}`)], GPT) - EMPTY;
    expect(counted).toBeGreaterThanOrEqual(500 + 2 * countTokens(PROSE));
    expect(counted).toBeLessThan(500 + 2 * countTokens(PROSE) + 10);
  });

  it('is never below what the known vocabulary makes of the whole text, and never above its bytes, whatever the text', () => {
    const alphabets = ['etaoin shrdlu ', ' \n\t', '{}[]":,0123456789', 'абвгд ежз ', '你好世界的一是', '🙂👩‍👩‍👧ﷺ½ﬁ', 'x'];
    let state = 3;
    const random = (below: number): number =>
      Math.floor(((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32) * below);
    for (let round = 0; round < 300; round += 1) {
      let text = '';
      for (let piece = random(6); piece >= 0; piece -= 1) {
        const letters = [...alphabets[random(alphabets.length)]!];
        for (let n = random(150); n >= 0; n -= 1) text += letters[random(letters.length)]!;
      }
      const counted = bound([user(text)], GPT) - EMPTY;
      // The tokenizer itself cuts words of a hundred letters, which may add a token for each cut.
      expect(counted + text.length / 100).toBeGreaterThanOrEqual(countTokens(text));
      expect(counted).toBeLessThanOrEqual(bound([user(text)], CLAUDE) - EMPTY);
    }
  });

  it('counts a letter that some vocabularies take apart as what it becomes', () => {
    // One sign of three bytes that stands for a phrase of eighteen letters.
    expect(bound([user('ﷺ')]) - EMPTY).toBe(33);
  });

  it('counts everything that the model reads: parts, names, tool calls and results, tools, the form of the answer', () => {
    const least = (messages: MessageInput[], bytes: number, fields: Partial<ChatInput> = {}): void =>
      expect(bound(messages, CLAUDE, fields) - bound([])).toBeGreaterThanOrEqual(bytes);
    const long = PROSE.repeat(10);
    least([{ role: 'USER', parts: [{ text: long }, { text: long }] }], 2 * long.length);
    least([{ role: 'USER', content: 'a', name: 'n'.repeat(64) }], 65);
    least(
      [{ role: 'ASSISTANT', toolCalls: [{ toolCallId: 'i'.repeat(100), name: 'n'.repeat(50), arguments: long }] }],
      150 + long.length,
    );
    least([{ role: 'TOOL', toolCallId: 'i'.repeat(100), content: long }], 100 + long.length);
    const tool = {
      name: 'weather',
      description: long,
      parameters: { type: 'object', properties: { place: { type: 'string', enum: ['a', 'b', 'c'] } } },
    };
    least([], JSON.stringify(tool).length + 804, { tools: [tool] });
    least([], 2 * JSON.stringify(tool).length + 804, { tools: [tool, tool] });
    const schema = { type: 'object', properties: { answer: { type: 'string', description: long } } };
    least([], JSON.stringify(schema).length + 804, { responseFormat: { type: 'JSON_SCHEMA', name: 'answer', schema } });
  });

  it('counts each picture at the most that its model documents, and at the dearest of all where it documents nothing', () => {
    const pictures = (n: number): MessageInput[] => [
      { role: 'USER', parts: Array.from({ length: n }, () => ({ imageUrl: 'data:image/png;base64,AAAA' })) },
    ];
    const each = (asked: CatalogModel, ...models: CatalogModel[]): number =>
      bound(pictures(3), asked, {}, ...models) - bound(pictures(2), asked, {}, ...models) - 8;
    expect(each(GPT)).toBe(85 + 8 * 170);
    expect(each(model('gpt-4o-mini'))).toBe(2_833 + 8 * 5_667);
    expect(each(model('gpt-5-nano'))).toBeGreaterThanOrEqual(1_536 * 2.46);
    expect(each(model('o3'))).toBeGreaterThanOrEqual(75 + 8 * 150);
    expect(each(CLAUDE)).toBe(4_784);
    expect(each(model('gemini-3.8-flash', 'gemini'))).toBe(2_240);
    for (const other of [
      model('gemini-2.5-pro', 'gemini'),
      model('gpt-6-luna'),
      model('llava', null),
      model('claude-like', 'openai'),
    ])
      expect(imageTokensAtMost(other)).toBe(48_169);
    expect(each(model('gpt-4o', 'openai', [CLAUDE.id]), CLAUDE)).toBe(4_784);
    expect(each(model('gpt-4o', 'openai', ['gone']))).toBe(48_169);
  });

  it('is the same for the same prompt', () => {
    const messages = [
      user(PROSE.repeat(30)),
      { role: 'USER' as const, parts: [{ text: 'look' }, { imageUrl: 'https://example.com/a.png' }] },
    ];
    expect(
      new Set(Array.from({ length: 20 }, () => bound(structuredClone(messages), GPT, { tools: [{ name: 't' }] }))).size,
    ).toBe(1);
  });
});

describe('the worst case', () => {
  it('is the whole prompt, the whole answer and the fee, exact to the last digit', () => {
    expect(
      worstCaseCost(1_000, 500, { promptPerToken: '0.0000025', outputPerToken: '0.00001', perRequest: '0.01' }),
    ).toBe('0.0175');
    expect(
      worstCaseCost(3, 7, { promptPerToken: '0.000000000000000000000001', outputPerToken: '0.1', perRequest: '0' }),
    ).toBe('0.700000000000000000000003');
    expect(worstCaseCost(1_000_000, 1_000_000, { promptPerToken: '0', outputPerToken: '0', perRequest: '0' })).toBe(
      '0',
    );
  });
});

describe('usage that an upstream reports', () => {
  const tokens = (prompt: number, answer: number, more: Partial<TokenBuckets> = {}): TokenBuckets => ({
    uncachedPrompt: prompt,
    cacheRead: 0,
    cacheWrite: 0,
    cacheWriteOneHour: 0,
    output: answer,
    reasoning: 0,
    ...more,
  });
  const HI = { promptBound: 20, maxTokens: 100, contextWindow: 128_000 };

  it('of a hundred million tokens for a "hi" is refused, in every bucket, also where nothing is known of the model', () => {
    const absurd = 99_999_999;
    for (const contextWindow of [128_000, 2_000_000, null]) {
      for (const usage of [
        tokens(absurd, 1),
        tokens(20, absurd),
        tokens(20, 0, { reasoning: absurd }),
        tokens(0, 1, { cacheRead: absurd }),
        tokens(0, 1, { cacheWrite: absurd }),
      ])
        expect(plausible(usage, { ...HI, contextWindow })).toBe(false);
    }
  });

  it('of three times max_tokens, or of pages that a proxy added, is booked', () => {
    expect(plausible(tokens(20, 300), HI)).toBe(true);
    expect(plausible(tokens(60_000, 100), HI)).toBe(true);
    expect(plausible(tokens(20, 3 * 4_096), { promptBound: 20, maxTokens: 4_096, contextWindow: 4_096 })).toBe(true);
    expect(plausible(tokens(20, 3 * 400_000), { promptBound: 20, maxTokens: 400_000, contextWindow: null })).toBe(true);
    expect(plausible(tokens(60_000, 300), { ...HI, contextWindow: null })).toBe(true);
  });

  it('of a prompt as long as was sent is booked, whatever window the upstream tells', () => {
    expect(plausible(tokens(900_000, 100), { promptBound: 1_000_000, maxTokens: 100, contextWindow: 8_192 })).toBe(
      true,
    );
  });

  it('of more than two contexts is refused', () => {
    expect(plausible(tokens(256_000, 100), HI)).toBe(true);
    expect(plausible(tokens(256_001, 100), HI)).toBe(false);
    expect(plausible(tokens(20, 256_001), HI)).toBe(false);
  });

  it('that is ordinary is booked', () => {
    expect(plausible(tokens(10, 20, { cacheRead: 5, cacheWrite: 3, reasoning: 60 }), HI)).toBe(true);
    expect(plausible(tokens(0, 0), HI)).toBe(true);
  });
});
