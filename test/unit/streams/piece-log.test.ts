import { PieceLog } from '../../../src/services/streams/piece-log';
import type { StreamEvent, NewEvent } from '../../../src/domain/stream-events';

/** The same numbers on every run (mulberry32): a failure names its seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
const TEXTS = ['', 'a', 'word ', '\ud83d', '\ude00', 'e', '\u0301', '\u200d', 'a longer piece of text, '.repeat(3)];

/** Long runs of one kind, as models speak, with other events between them. */
function anyEvents(random: (below: number) => number): NewEvent[] {
  const events: NewEvent[] = [{ kind: 'StreamStarted', streamId: 's', callId: 'c', model: 'm', conversation: null }];
  for (let runs = random(6); runs >= 0; runs -= 1) {
    const kind = random(4);
    const index = random(2);
    for (let i = 0, length = 1 + random(150); i < length; i += 1) {
      const text = TEXTS[random(TEXTS.length)]!;
      if (kind === 0) events.push({ kind: 'TextDelta', text });
      else if (kind === 1) events.push({ kind: 'ReasoningDelta', text });
      else if (kind === 2)
        events.push({
          kind: 'ToolCallDelta',
          index,
          toolCallId: i === 0 ? `t${index}` : null,
          name: i === 0 ? 'look' : null,
          arguments: text,
        });
      else if (i === 0) events.push({ kind: 'StreamProgress', completionTokens: i, estimatedCost: null });
    }
  }
  return events;
}
const textOf = (event: NewEvent | StreamEvent): string =>
  'text' in event ? event.text : 'arguments' in event ? event.arguments : '';
/** What tells one text from the next one: kind, tool call. */
const headOf = (event: NewEvent | StreamEvent): string =>
  event.kind === 'ToolCallDelta' ? `${event.kind} ${event.index}` : event.kind;

/** Holds what was read between two numbers against the plain list of what was appended: what is wrong with it. */
function faultsOf(
  read: StreamEvent[],
  plain: readonly NewEvent[],
  after: number,
  until: number,
  max: number,
): string[] {
  const faults: string[] = [];
  const check = (holds: boolean, what: string): void => void (holds || faults.push(what));
  let next = after + 1;
  for (const event of read) {
    const at = `${event.fromSeq}–${event.seq}`;
    const pieces = plain.slice(event.fromSeq - 1, event.seq);
    check(
      event.fromSeq === next && pieces.length === event.seq - event.fromSeq + 1,
      `${at} does not follow ${next - 1}`,
    );
    check(textOf(event) === pieces.map(textOf).join(''), `${at} has another text`);
    check(
      pieces.every((piece) => headOf(piece) === headOf(event)),
      `${at} joins different kinds`,
    );
    // Only one piece alone may be longer than the bound.
    check(pieces.length === 1 || textOf(event).length <= max, `${at} is longer than ${max}`);
    if (event.kind === 'ToolCallDelta') {
      const [first, ...rest] = pieces as Extract<NewEvent, { kind: 'ToolCallDelta' }>[];
      check(event.toolCallId === first!.toolCallId && event.name === first!.name, `${at} has another head`);
      check(
        rest.every(({ toolCallId, name }) => toolCallId === null && name === null),
        `${at} joins two tool calls`,
      );
    }
    next = event.seq + 1;
  }
  check(next - 1 === Math.max(after, until), `it ends at ${next - 1}, not at ${until}`);
  return faults;
}
function readAll(log: PieceLog, after: number, until: number, max?: number): StreamEvent[] {
  const events: StreamEvent[] = [];
  for (let event = log.read(after, until, max); event; event = log.read(event.seq, until, max)) events.push(event);
  return events;
}

describe('the log of a stream', () => {
  it.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'gives what was appended, whatever was read before and in whatever pieces (seed %i)',
    (seed) => {
      const random = randomOf(seed);
      const plain = anyEvents(random);
      const log = new PieceLog();
      for (const [i, event] of plain.entries()) {
        expect(log.append(event)).toBe(i + 1);
        if (random(10) > 0) continue;
        const [after, max] = [random(i + 2), 1 + random(80)];
        expect(faultsOf(readAll(log, after, i + 1, max), plain, after, i + 1, max)).toEqual([]);
      }
      if (random(2) > 0) log.compact();
      for (let round = 0; round < 20; round += 1) {
        const after = random(plain.length + 1);
        const until = after + random(plain.length + 1 - after);
        const max = 1 + random(200);
        expect(faultsOf(readAll(log, after, until, max), plain, after, until, max)).toEqual([]);
      }
      const each = [...log.pieces(0)];
      expect(faultsOf(each, plain, 0, plain.length, Infinity)).toEqual([]);
      expect(each).toHaveLength(plain.length);
    },
  );

  it('gives a piece that is larger than the bound alone, and its neighbours without it', () => {
    const log = new PieceLog();
    for (const text of ['a', 'b', 'x'.repeat(50), 'c', 'd']) log.append({ kind: 'TextDelta', text });
    expect(readAll(log, 0, 5, 10).map((event) => [event.fromSeq, event.seq, textOf(event).length])).toEqual([
      [1, 2, 2],
      [3, 3, 50],
      [4, 5, 2],
    ]);
  });

  it('gives nothing behind its end, nor beyond what may be shown', () => {
    const log = new PieceLog();
    expect(log.read(0)).toBeNull();
    for (const text of ['a', 'b']) log.append({ kind: 'TextDelta', text });
    expect([log.read(2), log.read(3), log.read(1, 1)]).toEqual([null, null, null]);
    expect(log.read(0, 1)).toMatchObject({ fromSeq: 1, seq: 1, text: 'a' });
  });
});
