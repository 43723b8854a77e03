import { litellmHead, litellmRequestHeaders } from '../../../src/services/upstream/litellm/headers';
import type { SpendMetadata, UpstreamRequest } from '../../../src/services/upstream/upstream';

const WEIR: SpendMetadata['weir'] = {
  installation: '7f',
  call: 'call_1',
  org: 'org_1',
  user: 'usr_1',
  operation: 'CHAT',
  door: 'GRAPHQL',
  scenario: 'DEFAULT',
};
const sent = (metadata: SpendMetadata): string => {
  const request: UpstreamRequest = {
    callId: 'call_1',
    apiKey: null,
    metadata,
    timeoutMs: 1_500,
    signal: new AbortController().signal,
    path: '/chat/completions',
    body: { model: 'm' },
  };
  return litellmRequestHeaders(request)['x-litellm-spend-logs-metadata']!;
};

describe('what the proxy is given to keep with its record', () => {
  it('says whose call it is, without what the call does not have', () => {
    expect(JSON.parse(sent({ weir: { ...WEIR, project: undefined, token: 'tok_1' }, trace_id: 't' }))).toEqual({
      weir: { ...WEIR, token: 'tok_1' },
      trace_id: 't',
    });
  });

  it('is ASCII and bounded, whatever is in it', () => {
    const header = sent({ weir: { ...WEIR, project: 'Grün 👩🏽‍🚀\n', token: 'x'.repeat(10_000) }, trace_id: '"\\' });
    expect(header).toMatch(/^[\x20-\x7e]+$/);
    expect(header.length).toBeLessThan(1_000);
    expect(JSON.parse(header)).toEqual({
      weir: { ...WEIR, project: 'Grün 👩🏽‍🚀\n', token: 'x'.repeat(128) },
      trace_id: '"\\',
    });
  });
});

it("an answer of the proxy's cache is told by its header", () => {
  expect(litellmHead({ 'x-litellm-model-group': 'm', 'x-litellm-cache-key': 'ab12' })).toMatchObject({
    servedModel: 'm',
    fromCache: true,
    cost: null,
  });
  expect(litellmHead({ 'x-litellm-model-group': 'm', 'x-litellm-response-cost': '0.5' })).toMatchObject({
    fromCache: false,
    cost: '0.5',
  });
});
