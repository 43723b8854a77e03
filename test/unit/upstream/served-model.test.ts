import { PassThrough } from 'node:stream';
import { Answer } from '../../../src/services/pipeline/operations/answer';
import { SseReader } from '../../../src/services/upstream/litellm/sse-reader';
import type { UpstreamHead } from '../../../src/services/upstream/upstream';
import { collectorHooks } from '../../support/collector-hooks';

const HEAD: UpstreamHead = { servedModel: 'first', deployment: 'first-1', attempts: 1, cost: null, fromCache: false };
const ALIASES = ['first', 'second', 'third'];
const chunk = (model: string | undefined, content: string): string =>
  `data: ${JSON.stringify({ model, choices: [{ index: 0, delta: { content } }] })}\n\n`;
const END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

async function read(
  events: string,
  { head = HEAD, kind = 'LITELLM' as 'LITELLM' | 'DIRECT' } = {},
): Promise<{ answer: Answer; heads: UpstreamHead[] }> {
  const heads: UpstreamHead[] = [];
  const answer = new Answer(
    collectorHooks({ onHead: (one) => heads.push(one), isServed: (model) => ALIASES.includes(model) }),
  );
  answer.head(head);
  const body = new PassThrough();
  const reading = new SseReader({
    kind,
    maxEventBytes: 1_000_000,
    sink: answer,
    signal: new AbortController().signal,
    onBytes: () => {},
    onPause: () => {},
  }).read(body);
  body.end(events + END);
  await reading;
  return { answer, heads };
}

describe('a stream that the proxy goes on with on another model', () => {
  it('is of the model that its last part names: with no deployment, no cost and one try more, which is told at once', async () => {
    const { answer, heads } = await read(chunk('first', '') + chunk('second', 'Hi'), {
      head: { ...HEAD, fromCache: true, cost: '0.5' },
    });
    const second = { servedModel: 'second', deployment: null, attempts: 2, cost: null, fromCache: false };
    expect(answer.headSeen).toEqual(second);
    expect(heads).toMatchObject([{ servedModel: 'first' }, second]);
    expect((await read(chunk('first', '') + chunk('second', '') + chunk('third', 'Hi'))).answer.headSeen).toMatchObject(
      { servedModel: 'third', attempts: 3 },
    );
  });

  it('is known before its first piece, also where one event is given in many', async () => {
    const seen: (string | null | undefined)[] = [];
    const answer: Answer = new Answer(
      collectorHooks({ onPiece: () => seen.push(answer.headSeen?.servedModel), isServed: () => true }),
    );
    answer.head(HEAD);
    const body = new PassThrough();
    const reading = new SseReader({
      kind: 'LITELLM',
      maxEventBytes: 1_000_000,
      sink: answer,
      signal: new AbortController().signal,
      onBytes: () => {},
      onPause: () => {},
    }).read(body);
    body.end(chunk('first', '') + chunk('second', 'x'.repeat(20_000)) + END);
    await reading;
    expect(seen).toEqual(Array(5).fill('second'));
  });
});

describe("is of the model of the stream's head", () => {
  it.each<[string, string]>([
    ['where all parts name that', chunk('first', '') + chunk('first', 'Hi')],
    ['where parts name none', chunk('first', '') + chunk(undefined, 'Hi')],
    [
      'where a part names what the proxy does not serve: a version of it',
      chunk('first', '') + chunk('first-2026-11-01', 'Hi'),
    ],
    [
      "where no part has used the proxy's name: others are a provider's, and only by chance those of another model here",
      chunk('second', '') + chunk('second', 'Hi'),
    ],
    ['where a name is no text', 'data: {"model":7,"choices":[]}\n\n' + chunk('first', 'Hi')],
  ])('%s', async (_name, events) => {
    expect((await read(events)).answer.headSeen).toEqual(HEAD);
  });

  it('where there is no proxy', async () => {
    const head = { ...HEAD, servedModel: null };
    expect((await read(chunk('first', '') + chunk('second', 'Hi'), { head, kind: 'DIRECT' })).answer.headSeen).toEqual(
      head,
    );
  });

  it('where the head names none', async () => {
    const head = { ...HEAD, servedModel: null };
    expect((await read(chunk('first', '') + chunk('second', 'Hi'), { head })).answer.headSeen).toEqual(head);
  });
});
