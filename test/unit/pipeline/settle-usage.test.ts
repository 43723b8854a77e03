import type { AdmittedCall } from '../../../src/services/pipeline/5-admit';
import { settle, type EndState } from '../../../src/services/pipeline/7-settle';
import type { ChatInput } from '../../../src/domain/chat';
import { ChatPrompt } from '../../../src/services/pipeline/operations/chat';
import { collectorHooks } from '../../support/collector-hooks';
import { Answer } from '../../../src/services/pipeline/operations/answer';
import type { UpstreamHead, UpstreamUsage } from '../../../src/services/upstream/upstream';
import type { PriceRecord } from '../../../src/services/pricing/pricing.types';
import type { Settlement } from '../../../src/domain/call';
import type { ChatReply } from '../../../src/domain/outcome';

const NO_TOKENS = { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 };
const USED = { ...NO_TOKENS, uncachedPrompt: 6, cacheRead: 4, output: 3, reasoning: 2 };
const HEAD: UpstreamHead = { servedModel: 'm', deployment: 'm-1', attempts: 1, cost: '0.5', fromCache: false };
const HIT = { ...HEAD, fromCache: true };
const USAGE: UpstreamUsage = {
  tokens: USED,
  fromProvider: true,
  raw: { prompt_tokens: 10 },
  cost: '0.5',
  serviceTier: null,
};
const COMPLETED: EndState = {
  status: 'COMPLETED',
  errorCode: null,
  refusal: null,
  stopReason: null,
  hungUp: false,
  refused: false,
};
const PRICE = { number: 7, rates: { input: '1', output: '1', perRequest: '9' } } as unknown as PriceRecord;

interface Case {
  head?: UpstreamHead | null;
  usage?: UpstreamUsage | null;
  text?: string;
  end?: Partial<EndState>;
  price?: PriceRecord | null;
}
async function settled({
  head = HEAD,
  usage = USAGE,
  text = 'Hello there',
  end = {},
  price = PRICE,
}: Case): Promise<{ row: Settlement; reply: ChatReply }> {
  const answer = new Answer(collectorHooks());
  answer.asked();
  if (head) answer.head(head);
  if (text) answer.text(text);
  if (usage) answer.usage(usage);
  const input: ChatInput = { messages: [{ role: 'USER', content: 'Hello' }], scenario: 'DEFAULT' };
  const call = {
    id: 'call_1',
    caller: { viewer: { organizationId: 'org_1', userId: 'usr_1', tokenId: null } },
    occurredAt: '2026-11-21 12:00:00+00',
    heldOn: [],
    streamed: true,
    operation: { request: { scenario: 'DEFAULT', agent: null } },
    prompt: new ChatPrompt(input, []),
    model: { id: 'm', provider: 'openai', contextWindow: 1_000 },
    promptBound: 20,
    maxTokens: 20,
    upstream: { kind: 'LITELLM' },
    startedAt: 0,
    idempotency: null,
    conversation: null,
    projectId: null,
  } as unknown as AdmittedCall<ChatReply>;
  let row: Settlement | undefined;
  const reply = await settle(
    call,
    answer,
    { ...COMPLETED, ...end },
    {
      writer: { write: async (written) => void (row = written) },
      prices: { forCall: () => price, number: 7 },
      modelOf: () => null,
    },
  );
  return { row: row!, reply };
}

describe("an answer from the proxy's cache", () => {
  it('has used and cost nothing, and what it would have used stands beside it', async () => {
    const { row, reply } = await settled({ head: HIT });
    expect(row).toMatchObject({
      tokens: NO_TOKENS,
      usageSource: 'CACHE',
      cacheUse: 'HIT',
      cachedTokens: USED,
      cost: { total: '0', request: '0' },
      priceNumber: 7,
      proxyCost: '0',
      rawUsage: { prompt_tokens: 10 },
    });
    expect(reply).toMatchObject({
      usage: { ...NO_TOKENS, source: 'CACHE' },
      cost: { total: '0', reportedByProxy: '0' },
    });
  });

  it('costs nothing where no price is known', async () => {
    expect((await settled({ head: HIT, price: null })).row).toMatchObject({
      usageSource: 'CACHE',
      priceNumber: null,
      cost: { total: '0' },
    });
  });

  it('would have used what can be counted, where it was stopped or its figures cannot be', async () => {
    const counted = { ...NO_TOKENS, uncachedPrompt: expect.any(Number), output: 2 };
    const absurd = { ...USAGE, tokens: { ...USED, output: 90_000_000 } };
    for (const one of [{ usage: null, end: { status: 'STOPPED' as const } }, { usage: absurd }]) {
      expect((await settled({ head: HIT, ...one })).row).toMatchObject({
        tokens: NO_TOKENS,
        usageSource: 'CACHE',
        cachedTokens: counted,
      });
    }
  });
});

it('another answer has used what was told', async () => {
  expect((await settled({})).row).toMatchObject({
    tokens: USED,
    usageSource: 'PROVIDER',
    cacheUse: 'NO',
    cachedTokens: null,
    cost: { request: '9' },
    proxyCost: '0.5',
  });
});

describe('a request that the provider did not take', () => {
  const refused = { status: 'FAILED' as const, refused: true };
  it('has used nothing, also where the proxy says so behind a good head', async () => {
    for (const head of [null, HEAD]) {
      const { row } = await settled({ head, usage: null, text: '', end: refused });
      expect(row).toMatchObject({
        status: 'FAILED',
        tokens: NO_TOKENS,
        usageSource: 'NONE',
        cacheUse: 'NO',
        cost: { total: '0' },
      });
    }
  });
});
