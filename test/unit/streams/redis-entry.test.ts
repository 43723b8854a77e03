import { PieceLog } from '../../../src/services/streams/piece-log';
import { entriesOf, piecesOf, readEntry, type EntryWords } from '../../../src/services/streams/redis-entry';
import type { NewEvent } from '../../../src/domain/stream-events';

const logOf = (events: readonly NewEvent[]): PieceLog => {
  const log = new PieceLog();
  for (const event of events) log.append(event);
  return log;
};
const raw = ({ seq, words }: EntryWords): [string, string[]] => [`${seq}-0`, words];
const text = (value: string): NewEvent => ({ kind: 'TextDelta', text: value });
const EVENTS: NewEvent[] = [
  {
    kind: 'StreamStarted',
    streamId: 's',
    callId: 'c',
    model: 'm',
    conversation: { id: 'v', createdAt: new Date(1), updatedAt: new Date(2) } as never,
  },
  { kind: 'ReasoningDelta', text: 'hm' },
  ...Array.from({ length: 150 }, (_, i) => text(`${i} `)),
  // Halves of one sign.
  text('\ud83d'),
  text('\ude00'),
  text(''),
  { kind: 'ToolCallDelta', index: 0, toolCallId: 't', name: 'f', arguments: '{"a"' },
  { kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: ':1}' },
  { kind: 'StreamProgress', completionTokens: 3, estimatedCost: '0.1' },
  text('end'),
];

describe('entries of a log in Redis', () => {
  it.each([0, 1, 2, 5, 77, 152, 153, 156])(
    'give back every piece as it was, whatever was there before: from behind %i on',
    (after) => {
      const log = logOf(EVENTS);
      const copy = logOf(EVENTS.slice(0, after));
      for (const entry of entriesOf(log, after, log.lastSeq, 'o', 1)) {
        const read = readEntry(raw(entry));
        expect(read).toMatchObject({ fromSeq: copy.lastSeq + 1, seq: entry.seq, owner: 'o', viewers: 1 });
        for (const piece of piecesOf(read, copy.lastSeq + 1)) copy.append(piece);
      }
      expect([...copy.pieces(0)]).toEqual([...log.pieces(0)]);
      expect(copy.read(0)).toEqual(log.read(0));
    },
  );

  it('can be read on from the middle of one', () => {
    const log = logOf(EVENTS);
    const copy = logOf(EVENTS.slice(0, 10));
    for (const entry of entriesOf(log, 0, log.lastSeq, 'o', 0))
      for (const piece of piecesOf(readEntry(raw(entry)), copy.lastSeq + 1)) copy.append(piece);
    expect([...copy.pieces(0)]).toEqual([...log.pieces(0)]);
  });

  it('are few: pieces that came together are one', () => {
    expect([...entriesOf(logOf(EVENTS), 2, 40, 'o', 0)]).toHaveLength(1);
  });

  it('mark the terminal event, and give its dates back as dates', () => {
    const at = new Date('2026-01-02T03:04:05.678Z');
    const reply = {
      call: { occurredAt: at },
      answer: { createdAt: at, toolCalls: [] },
      conversation: { createdAt: at, updatedAt: at },
    } as never;
    const budget = { periodStart: at, resetsAt: at };
    for (const event of [
      { kind: 'StreamCompleted', reply },
      { kind: 'StreamStopped', reason: 'CLIENT', reply },
      { kind: 'StreamFailed', refusal: { kind: 'BudgetExceeded', resetsAt: at, budget } as never, partial: reply },
    ] as NewEvent[]) {
      const [entry] = entriesOf(logOf([event]), 0, 1, 'o', 0);
      expect(entry!.words.slice(-2)).toEqual(['x', '1']);
      expect(readEntry(raw(entry!)).event).toEqual(event);
    }
  });
});
