import { PassThrough } from 'node:stream';
import { Answer } from '../../../src/services/pipeline/operations/answer';
import type { Piece } from '../../../src/services/pipeline/operation';
import { SseReader, type SseReaderOptions } from '../../../src/services/upstream/litellm/sse-reader';
import { Turns } from '../../../src/services/upstream/litellm/turns';
import { waitFor } from '../../support/wait';
import type { UpstreamError } from '../../../src/services/upstream/errors';
import { collectorHooks } from '../../support/collector-hooks';

const chunk = (delta: object, more: object = {}): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta }], ...more })}\n\n`;
const say = (content: string): string => chunk({ content });
const FINISH = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';
const DONE = 'data: [DONE]\n\n';

interface Reading {
  body: PassThrough;
  answer: Answer;
  pieces: Piece[];
  abort: AbortController;
  ended: Promise<UpstreamError | null>;
  paused: number;
  bytes: number;
}
function open(
  options: Partial<SseReaderOptions> = {},
  onPiece: (piece: Piece) => void = () => {},
  behind: () => Promise<void> | null = () => null,
): Reading {
  const body = new PassThrough({ highWaterMark: 64 * 1024 });
  const abort = new AbortController();
  const pieces: Piece[] = [];
  const answer = new Answer(
    collectorHooks({
      onPiece: (piece) => {
        pieces.push(piece);
        onPiece(piece);
      },
      behind,
    }),
  );
  const reading: Reading = { body, answer, pieces, abort, paused: 0, bytes: 0, ended: null as never };
  const reader = new SseReader({
    kind: 'DIRECT',
    maxEventBytes: 16 * 1024 * 1024,
    sink: answer,
    signal: abort.signal,
    onBytes: () => (reading.bytes += 1),
    onPause: () => (reading.paused += 1),
    ...options,
  });
  reading.ended = reader.read(body).then(
    () => null,
    (error: UpstreamError) => error,
  );
  return reading;
}
async function readAll(text: string | Buffer): Promise<{ answer: Answer; error: UpstreamError | null }> {
  const { body, answer, ended } = open();
  body.end(text);
  return { answer, error: await ended };
}

describe('the standard of server-sent events', () => {
  const TEXT = 'Grüße 👩🏽‍🚀 שלום\u2028\u0085 end';
  const json = JSON.stringify({ choices: [{ index: 0, delta: { content: TEXT } }] });
  const FORMS: [string, string][] = [
    ['with a byte order mark', `\ufeffdata: ${json}\n\n`],
    ['without a space', `data:${json}\n\n`],
    ['with CR LF', `data: ${json}\r\n\r\n`],
    ['with CR alone', `data: ${json}\r\r`],
    ['with all three in one', `: a\r\ndata: {"choices":\rdata:${json.slice(11)}\n\r`],
    ['in several lines of data', `data: ${json.replaceAll(',"', ',\ndata: "')}\n\n`],
    [
      'with comments before, between and behind',
      `: hello\n:\ndata: {"choices":\n: in the midst\ndata: ${json.slice(11)}\n:\n\n: end\n\n`,
    ],
    ['with a type, an id and a wait for reconnection', `event: message\nid: 7\nretry: 3000\ndata: ${json}\n\n`],
    [
      'with a wait that is none and fields that nobody knows',
      `retry: soon\nid: a\0b\nfoo\nbar: baz\n: \ndata: ${json}\n\n`,
    ],
    ['with events that have no data', `event: ping\n\nid: 1\n\ndata: ${json}\n\n\n\n\n`],
    ['with data that is empty in another line', `data:\ndata: ${json}\ndata\n\n`],
  ];
  it.each(FORMS)(
    '%s: the text is the same, in one piece of bytes, in single ones, and with a break anywhere',
    async (_name, form) => {
      const bytes = Buffer.from(form + FINISH.replaceAll('\n', form.includes('\r') ? '\r' : '\n'));
      const whole = await readAll(bytes);
      expect([whole.error, whole.answer.content, whole.answer.finishReason]).toEqual([null, TEXT, 'STOP']);
      const broken = Array.from({ length: bytes.length + 1 }, async (_, at) => {
        const { body, answer, ended } = open();
        body.emit('data', bytes.subarray(0, at));
        body.emit('data', bytes.subarray(at));
        body.end();
        return [await ended, answer.content];
      });
      for (const outcome of await Promise.all(broken)) expect(outcome).toEqual([null, TEXT]);
      const single = open();
      for (const byte of bytes) single.body.emit('data', Buffer.from([byte]));
      single.body.end();
      expect([await single.ended, single.answer.content]).toEqual([null, TEXT]);
    },
  );

  it('an event is given when its last line ends, also where that is a CR and nothing follows', async () => {
    const { body, answer, ended } = open();
    body.write(say('now').replaceAll('\n', '\r'));
    await waitFor(() => answer.content === 'now');
    body.end('\ndata: [DONE]\r\n\r\n');
    expect(await ended).toBeNull();
  });

  it('the last event counts also when the stream ends without its empty line', async () => {
    expect((await readAll(say('a') + FINISH.trimEnd())).error).toBeNull();
  });
});

describe('providers that take it lightly', () => {
  const USAGE = (completion: number): string =>
    `data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":${completion},"total_tokens":9}}\n\n`;
  it.each<[string, string, string]>([
    [
      'empty choices, no choices, null for them',
      `${say('a')}data: {"choices":[]}\n\ndata: {}\n\ndata: {"choices":null}\n\ndata: null\n\ndata: 7\n\n${FINISH}`,
      'a',
    ],
    [
      'null and missing deltas',
      `${say('a')}data: {"choices":[{"delta":null}]}\n\ndata: {"choices":[{}]}\n\ndata: {"choices":[null]}\n\n${chunk({ content: null, tool_calls: null })}${FINISH}`,
      'a',
    ],
    [
      'content that is no text',
      `${say('a')}${chunk({ content: 7 })}${chunk({ content: [{ type: 'text', text: 'x' }] })}${FINISH}`,
      'a',
    ],
    ['no [DONE]', say('a') + FINISH, 'a'],
    ['[DONE] and no finish', say('a') + DONE, 'a'],
    ['text behind the finish', say('a') + FINISH + say('b') + DONE, 'ab'],
    ['anything behind [DONE]', `${say('a')}${FINISH}${DONE}${say('b')}data: {"half\n\n${USAGE(99)}`, 'a'],
    ['the finish twice', say('a') + FINISH + FINISH + DONE, 'a'],
  ])('%s: the answer is whole', async (_name, text, content) => {
    const { answer, error } = await readAll(text);
    expect([error, answer.content, answer.usageSeen]).toEqual([null, content, null]);
  });

  it('usage twice: the later one counts, and an absurd one not', async () => {
    expect(
      (await readAll(say('a') + FINISH + USAGE(1) + USAGE(6) + USAGE(-6) + DONE)).answer.usageSeen!.tokens.output,
    ).toBe(6);
  });

  it.each([
    ['tool_calls', 'stop', 'TOOL_CALLS'],
    ['stop', 'length', 'LENGTH'],
    ['stop', 'stop', 'STOP'],
    ['content_filter', 'stop', 'CONTENT_FILTER'],
  ])('finished by %s and then by %s: %s', async (first, second, expected) => {
    expect((await readAll(FINISH.replace('stop', first) + FINISH.replace('stop', second))).answer.finishReason).toBe(
      expected,
    );
  });

  it.each(['[null]', '{"index":0}'])(
    'a broken tool call (%s) behind an event that is given in parts ends this stream, and not the process',
    async (calls) => {
      const { error } = await readAll(
        `${say('x'.repeat(9_000))}data: {"choices":[{"delta":{"tool_calls":${calls}}}]}\n\n${FINISH}`,
      );
      expect(error).toMatchObject({ kind: 'INTERRUPTED' });
    },
  );

  it('a tool call whose parts are not what they should be: what is text is taken', async () => {
    const { answer, error } = await readAll(
      chunk({ tool_calls: [{ index: 0, id: 7, function: { name: 'look', arguments: { a: 1 } } }] }) +
        chunk({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }) +
        chunk({ tool_calls: [{ index: 1e9, function: { name: 'x' } }] }) +
        FINISH,
    );
    expect([error, answer.toolCalls]).toEqual([null, [{ toolCallId: '', name: 'look', arguments: '{}' }]]);
  });

  it.each<[string, string | ((reading: Reading) => void)]>([
    ['a polite end without a finish', ''],
    ['half of a JSON text', 'data: {"choices":[{"del\n\n'],
    ['a page of HTML', 'data: <html>\n\n'],
    ['an error object', 'data: {"error":{"message":"boom"}}\n\n'],
    ['an error object in text', 'data: {"error":"boom"}\n\n'],
    ['text behind the finish, and then nothing', `${FINISH}${say('')}${chunk({ content: 'b' })}`],
    ['a line without end', `data: ${'x'.repeat(200_000)}`],
    ['data without end, in lines with comments between', 'data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n:\n'.repeat(10_000)],
  ])('%s is an interruption, and what came before is kept', async (_name, rest) => {
    const { body, answer, ended } = open({ maxEventBytes: 100_000 });
    body.end(say('a') + String(rest));
    expect(await ended).toMatchObject({ kind: 'INTERRUPTED' });
    expect(answer.content).toMatch(/^ab?$/);
  });

  it('a connection that stays open behind [DONE] is not waited for', async () => {
    const { body, ended } = open();
    body.write(say('a') + FINISH + DONE);
    expect(await ended).toBeNull();
    expect(body.destroyed).toBe(false);
    body.end();
  });
});

describe('a burst', () => {
  /** Every look at the clock takes so long: a turn of two milliseconds is few slices. */
  const slow = (): Turns => {
    let now = 0;
    return new Turns(() => (now += 0.2));
  };
  /** Turns of the event loop that others had until the reading ended. */
  async function turnsOfOthers(ended: Promise<unknown>): Promise<number> {
    let turns = 0;
    let over = false;
    void ended.then(() => (over = true));
    while (!over) {
      await new Promise(setImmediate);
      turns += 1;
    }
    return turns;
  }

  it('of many small events is read in turns with others, in order and to its end, and the upstream waits meanwhile', async () => {
    let hasWaited = false;
    const { body, answer, ended } = open({ turns: slow() }, () => (hasWaited ||= body.isPaused()));
    const burst = Buffer.from(Array.from({ length: 20_000 }, (_, i) => say(`${i} `)).join('') + FINISH + DONE);
    let taken = 0;
    const feed = (): void => {
      for (; taken < burst.length;) {
        const more = body.write(burst.subarray(taken, (taken += 128 * 1024)));
        if (!more) {
          body.once('drain', feed);
          return;
        }
      }
      body.end();
    };
    feed();
    const turns = await turnsOfOthers(ended);
    expect(await ended).toBeNull();
    expect(answer.content).toBe(Array.from({ length: 20_000 }, (_, i) => `${i} `).join(''));
    expect(hasWaited).toBe(true);
    // Ten slices of 4 KB to a turn.
    expect(turns).toBeGreaterThan(burst.length / (10 * 4_096) / 2);
  });

  it('that comes in one turn as many small chunks is one burst', async () => {
    const { body, ended } = open({ turns: slow() });
    for (let i = 0; i < 2_000; i += 1) body.emit('data', Buffer.from(say('x')));
    body.emit('data', Buffer.from(FINISH + DONE));
    expect(await turnsOfOthers(ended)).toBeGreaterThan(50);
  });

  it('whose connection is cut is read to its end before that is told', async () => {
    const { body, answer, ended } = open({ turns: slow() });
    for (let i = 0; i < 2_000; i += 1) body.emit('data', Buffer.from(say('x')));
    body.destroy(new Error('reset'));
    expect(await ended).toMatchObject({ message: 'reset' });
    expect(answer.content).toBe('x'.repeat(2_000));
  });

  it('of one event of eight megabytes is given in pieces that divide no sign', async () => {
    const text = 'ab👩🏽‍🚀'.repeat(1_000_000).slice(0, 6_000_000);
    const { body, answer, pieces, ended } = open();
    body.end(
      say(text.toWellFormed()) +
        chunk({ tool_calls: [{ index: 0, id: 't', function: { name: 'look', arguments: 'y'.repeat(10_000) } }] }) +
        DONE,
    );
    expect(await ended).toBeNull();
    expect(answer.content === text.toWellFormed()).toBe(true);
    expect(
      Math.max(...pieces.map((piece) => ('text' in piece ? piece.text : piece.arguments).length)),
    ).toBeLessThanOrEqual(4_096);
    expect(pieces.every((piece) => 'arguments' in piece || piece.text.isWellFormed())).toBe(true);
    expect(answer.toolCalls).toEqual([{ toolCallId: 't', name: 'look', arguments: 'y'.repeat(10_000) }]);
  });

  it.each([
    ['many events', Array.from({ length: 20_000 }, () => say('x'.repeat(100))).join('')],
    ['one event', say('x'.repeat(2_000_000))],
  ])('of %s that somebody stops in the middle gives nothing more', async (_name, burst) => {
    let characters = 0;
    const { body, abort, ended } = open({}, (piece) => {
      characters += (piece as { text: string }).text.length;
      if (characters >= 10_000) abort.abort(new Error('enough'));
    });
    body.end(burst);
    expect(await ended).toMatchObject({ message: 'enough' });
    expect(characters).toBeLessThan(10_000 + 4_096 + 1);
  });
});

describe('who keeps the pieces and is slower', () => {
  it('is waited for: nothing is read meanwhile, silence is not counted, and then it goes on', async () => {
    let catchUp!: () => void;
    let isBehind = false;
    const reading = open(
      {},
      () => {},
      () => (isBehind ? new Promise((resolve) => (catchUp = resolve)) : null),
    );
    const { body, answer, ended } = reading;
    body.write(say('a'));
    await waitFor(() => answer.content === 'a');
    isBehind = true;
    body.write(say('b'));
    await waitFor(() => catchUp !== undefined);
    body.write(say('c') + FINISH + DONE);
    body.end();
    await new Promise(setImmediate);
    expect([answer.content, body.isPaused(), reading.paused, reading.bytes]).toEqual(['ab', true, 1, 2]);
    isBehind = false;
    catchUp();
    expect(await ended).toBeNull();
    expect(answer.content).toBe('abc');
    expect(reading.paused).toBe(1);
  });

  it('a stop ends the waiting, also when the upstream has said everything', async () => {
    const { body, abort, ended } = open(
      {},
      () => {},
      () => new Promise(() => {}),
    );
    body.end(say('a'));
    await waitFor(() => body.isPaused());
    abort.abort(new Error('stopped'));
    expect(await ended).toMatchObject({ message: 'stopped' });
  });
});
