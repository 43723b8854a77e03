/** Examples are JavaScript; `tsc -p examples` looks at their types. */
const { resuming, retryOf, StreamGap } = require('../../../examples/browser-chat/resuming.js');

interface Sink { next(result: unknown): void; error(error: unknown): void; complete(): void }
interface Connection { asked: { query: string; variables: any; operationName?: string }; sink: Sink; left: boolean }

const DOCUMENT = 'subscription Chat($question: ChatInput!, $with: Boolean!) { answer: chatStream(input: $question) { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta @include(if: $with) { text } } }';
const event = (seq: number, more: object = {}, fromSeq = seq): object => ({ data: { answer: { __typename: 'TextDelta', fromSeq, seq, text: `${seq} `, ...more } } });
const started = event(1, { __typename: 'StreamStarted', streamId: 'str_1', callId: 'call_1' });
const completed = (seq: number): object => event(seq, { __typename: 'StreamCompleted' });

/** A client whose connections the test plays. */
function play(options: object = {}, asked: object = { query: DOCUMENT, variables: { question: { model: 'm' }, with: true } }) {
  const connections: Connection[] = [];
  const told = { next: jest.fn(), error: jest.fn(), complete: jest.fn() };
  const subscribe = (operation: Connection['asked'], sink: Sink): (() => void) => {
    const connection = { asked: operation, sink, left: false };
    connections.push(connection);
    return () => void (connection.left = true);
  };
  const leave = resuming(subscribe, options)(asked, told) as () => void;
  const seen = (): number[] => told.next.mock.calls.map(([{ data }]) => data.answer.seq);
  return { connections, told, leave, seen };
}

describe('resuming', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());
  const later = (): void => void jest.advanceTimersToNextTimer();

  it('asks for the rest behind the last piece, with the same selection under the same name', () => {
    const { connections, told, seen } = play();
    for (const result of [started, event(2), event(5, {}, 3)]) connections[0]!.sink.next(result);
    connections[0]!.sink.error({ code: 1006 });
    expect(connections).toHaveLength(1);
    later();
    expect(connections[1]!.asked.query).toBe('subscription Chat($streamId: ID!, $afterSeq: Int!, $with: Boolean!) { answer: resumeStream(streamId: $streamId, afterSeq: $afterSeq) { __typename ... on StreamEvent { fromSeq seq } ... on TextDelta @include(if: $with) { text } } }');
    expect(connections[1]!.asked.variables).toEqual({ streamId: 'str_1', afterSeq: 5, with: true });
    // The first connection has died and says one thing more.
    connections[0]!.sink.next(event(6));
    connections[1]!.sink.next(event(6));
    connections[1]!.sink.next(completed(7));
    expect(seen()).toEqual([1, 2, 5, 6, 7]);
    expect(told.complete).toHaveBeenCalledTimes(1);
    expect(told.error).not.toHaveBeenCalled();
    expect(connections.map(({ left }) => left)).toEqual([true, true]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('repeats the question with one key until it is known which stream it is', () => {
    const { connections } = play();
    for (const code of [1006, 1013]) {
      connections.at(-1)!.sink.error({ code });
      later();
    }
    const keys = connections.map(({ asked }) => asked.variables.question.idempotencyKey);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys).toEqual([keys[0], keys[0], keys[0]]);
    expect(connections.map(({ asked }) => asked.query)).toEqual([DOCUMENT, DOCUMENT, DOCUMENT]);
    expect(play({}, { query: DOCUMENT, variables: { question: { idempotencyKey: 'mine' } } }).connections[0]!.asked.variables.question.idempotencyKey).toBe('mine');
    expect(play().connections[0]!.asked.variables.question.idempotencyKey).not.toBe(keys[0]);
  });

  it('goes on with a stream of before', () => {
    const { connections, seen } = play({ from: { streamId: 'str_9', seq: 4 } });
    expect(connections[0]!.asked.variables).toMatchObject({ streamId: 'str_9', afterSeq: 4 });
    connections[0]!.sink.next(event(5));
    expect(seen()).toEqual([5]);
  });

  it('a missing piece is asked for once more, and never skipped', () => {
    const { connections, told, seen } = play();
    connections[0]!.sink.next(started);
    connections[0]!.sink.next(event(3));
    expect(connections[0]!.left).toBe(true);
    later();
    expect(connections[1]!.asked.variables).toMatchObject({ afterSeq: 1 });
    connections[1]!.sink.next(event(3));
    expect(told.error).toHaveBeenCalledWith(expect.any(StreamGap));
    expect(seen()).toEqual([1]);
  });

  it('an end without a last event is no end', () => {
    const { connections, told } = play();
    connections[0]!.sink.next(started);
    connections[0]!.sink.complete();
    expect(told.complete).not.toHaveBeenCalled();
    later();
    expect(connections[1]!.asked.variables).toMatchObject({ afterSeq: 1 });
  });

  it.each([4400, 4401, 4403, 4406, 4409, 4429, 4500, 1002, 1008, 1009])('close code %d is final', (code) => {
    const { connections, told } = play();
    connections[0]!.sink.next(started);
    connections[0]!.sink.error({ code, reason: '' });
    expect(told.error).toHaveBeenCalledWith(expect.objectContaining({ code }));
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each([1001, 1006, 1011, 1012, 1013, 4408, 4499])('close code %d is not', (code) => expect(retryOf({ code })).toMatchObject({ retry: true }));

  it('errors say themselves whether to wait: only those that pass', () => {
    const error = (code: string, retryAfterMs?: number): object => ({ message: code, extensions: { code, retryAfterMs } });
    expect(retryOf([error('SERVICE_UNAVAILABLE', 2_000)])).toEqual({ retry: true, afterMs: 2_000 });
    expect(retryOf([error('RATE_LIMITED', 700)])).toEqual({ retry: true, afterMs: 700 });
    for (const code of ['NOT_FOUND', 'UNAUTHENTICATED', 'BAD_USER_INPUT', 'INTERNAL_SERVER_ERROR']) expect(retryOf([error(code)]).retry).toBe(false);
    expect(retryOf([error('SERVICE_UNAVAILABLE', 2_000), error('NOT_FOUND')]).retry).toBe(false);
    expect(retryOf({ message: 'refused', response: { status: 503, headers: new Headers({ 'retry-after': '7' }) } })).toEqual({ retry: true, afterMs: 7_000 });
    expect(retryOf({ message: 'refused', response: { status: 401, headers: new Headers() } }).retry).toBe(false);
    expect(retryOf(new TypeError('fetch failed')).retry).toBe(true);
    const { connections } = play({ firstDelayMs: 1 });
    connections[0]!.sink.error([error('SERVICE_UNAVAILABLE', 5_000)]);
    jest.advanceTimersByTime(4_999);
    expect(connections).toHaveLength(1);
    jest.advanceTimersByTime(1);
    expect(connections).toHaveLength(2);
  });

  it('waits twice as long after each attempt, with chance in it, up to a bound; and from the beginning again after an event', () => {
    const waits: number[] = [];
    const { connections } = play({ firstDelayMs: 100, longestDelayMs: 400, onConnection: ({ retryInMs }: { retryInMs?: number }) => retryInMs !== undefined && waits.push(retryInMs) });
    connections[0]!.sink.next(started);
    for (let attempt = 0; attempt < 5; attempt += 1) {
      connections.at(-1)!.sink.error({ code: 1006 });
      later();
    }
    for (const [index, longest] of [100, 200, 400, 400, 400].entries()) {
      expect(waits[index]).toBeLessThanOrEqual(longest);
      expect(waits[index]).toBeGreaterThanOrEqual(longest / 2);
    }
    connections.at(-1)!.sink.next(event(2));
    connections.at(-1)!.sink.error({ code: 1006 });
    expect(waits.at(-1)).toBeLessThanOrEqual(100);
  });

  it('gives up when there was no connection for too long, and says why', () => {
    const { connections, told } = play({ giveUpAfterMs: 1_000, firstDelayMs: 400, longestDelayMs: 400 });
    for (let attempt = 0; attempt < 10 && !told.error.mock.calls.length; attempt += 1) {
      connections.at(-1)!.sink.error({ code: 1006 });
      if (!told.error.mock.calls.length) later();
    }
    expect(told.error).toHaveBeenCalledWith({ code: 1006 });
    expect(connections.length).toBeGreaterThan(3);
  });

  it('who leaves is not connected again', () => {
    const { connections, leave, told } = play();
    connections[0]!.sink.next(started);
    connections[0]!.sink.error({ code: 1006 });
    leave();
    expect(jest.getTimerCount()).toBe(0);
    const other = play();
    other.leave();
    expect(other.connections[0]!.left).toBe(true);
    other.connections[0]!.sink.error({ code: 1006 });
    expect(other.connections).toHaveLength(1);
    for (const { error, complete } of [told, other.told]) expect(error.mock.calls.length + complete.mock.calls.length).toBe(0);
  });

  it('says what a document has to select', () => {
    const { connections, told } = play();
    connections[0]!.sink.next({ data: { answer: { __typename: 'TextDelta', text: 'a' } } });
    expect(told.error).toHaveBeenCalledWith(expect.objectContaining({ message: expect.stringContaining('fromSeq seq') }));
  });

  it.each([
    ['the input written into the document', 'subscription { chatStream(input: { messages: [{ role: USER, content: "Go (on)" }] }) { __typename } }', {}, 'chatStream(input: $input)'],
    ['a key of its own beside the input', 'subscription($a: ChatInput!, $b: Int) { chatStream(input: $a, more: $b) { __typename } }', { a: {} }, 'chatStream(input: $input)'],
    ['an input that is not declared as one', 'subscription($input: ChatInput) { chatStream(input: $input) { __typename } }', { input: {} }, 'ChatInput!'],
    ['an input with a default', 'subscription($input: ChatInput! = { messages: [] }) { chatStream(input: $input) { __typename } }', { input: {} }, 'ChatInput!'],
    ['no variables', 'subscription($input: ChatInput!) { chatStream(input: $input) { __typename } }', undefined, '$input'],
    ['a resumption without variables', 'subscription { resumeStream(streamId: "str_1", afterSeq: 3) { __typename } }', {}, 'resumeStream(streamId: $streamId, afterSeq: $afterSeq)'],
    ['a resumption from the beginning alone', 'subscription($a: ID!) { resumeStream(streamId: $a) { __typename } }', { a: 'str_1' }, 'resumeStream(streamId: $streamId, afterSeq: $afterSeq)'],
    ['a resumption of nothing', 'subscription($a: ID!, $b: Int!) { resumeStream(streamId: $a, afterSeq: $b) { __typename } }', { b: 1 }, '$a'],
  ])('what could not be gone on with is not asked at all: %s', async (_, query, variables, message) => {
    const { connections, told } = play({}, { query, variables });
    await Promise.resolve();
    expect(told.error).toHaveBeenCalledTimes(1);
    expect(told.error).toHaveBeenCalledWith(expect.objectContaining({ message: expect.stringContaining(message) }));
    expect(connections).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('nor is it said to one who has left', async () => {
    const { leave, told } = play({}, { query: 'subscription { chatStream(input: {}) { __typename } }' });
    leave();
    await Promise.resolve();
    expect(told.error).not.toHaveBeenCalled();
  });

  it('finds its field in any notation, and only there', () => {
    const query = 'subscription chatStream($input: ChatInput!) { # chatStream(input: {})\n  answer : chatStream # resumeStream(streamId: 1)\n ( input : $input , ) @include(if: true) { __typename } }';
    const { connections } = play({}, { query, variables: { input: {} } });
    connections[0]!.sink.next(started);
    connections[0]!.sink.error({ code: 1006 });
    later();
    expect(connections[1]!.asked.query).toBe('subscription chatStream($streamId: ID!, $afterSeq: Int!) { # chatStream(input: {})\n  answer: resumeStream(streamId: $streamId, afterSeq: $afterSeq) @include(if: true) { __typename } }');
  });

  it.each(['streamId: $a, afterSeq: $b', 'afterSeq: $b streamId: $a'])('resumeStream(%s) goes on behind what has arrived, too', (args) => {
    const query = `subscription($a: ID!, $b: Int! = 0, $c: Boolean) { answer: resumeStream(${args}) { __typename ... on StreamEvent { fromSeq seq } } }`;
    const { connections, told, seen } = play({ from: { streamId: 'str_of_another', seq: 1 } }, { query, variables: { a: 'str_1', b: 4, c: true } });
    expect(connections[0]!.asked).toEqual({ query, variables: { a: 'str_1', b: 4, c: true } });
    connections[0]!.sink.next(event(6, {}, 5));
    // An end without a last event is no end.
    connections[0]!.sink.complete();
    later();
    expect(connections[1]!.asked).toEqual({ query, variables: { a: 'str_1', b: 6, c: true } });
    connections[1]!.sink.next(completed(7));
    expect(seen()).toEqual([6, 7]);
    expect(told.complete).toHaveBeenCalledTimes(1);
    expect(told.error).not.toHaveBeenCalled();
    expect(play({}, { query, variables: { a: 'str_1' } }).connections[0]!.asked.variables).toEqual({ a: 'str_1', b: 0 });
  });

  it('an attempt that took too long is no close code', () => expect(retryOf(new DOMException('too long', 'TimeoutError')).retry).toBe(true));

  it('asks other subscriptions again as they were', () => {
    const asked = { query: 'subscription { usageUpdates { calls } }' };
    const { connections, told } = play({}, asked);
    connections[0]!.sink.next({ data: { usageUpdates: { calls: 1 } } });
    connections[0]!.sink.error({ code: 1006 });
    later();
    connections[1]!.sink.next({ data: { usageUpdates: { calls: 2 } } });
    expect(connections[1]!.asked).toBe(asked);
    expect(told.next).toHaveBeenCalledTimes(2);
  });
});
