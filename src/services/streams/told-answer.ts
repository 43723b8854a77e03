import { restOf, textOfMessage, type AnswerText } from './kept-end';
import type { StreamListener, ViewedStream } from './stream.types';
import type { StreamEvent, NewEvent, TerminalEvent, Unnumbered } from '../../domain/stream-events';

/**
 * How far the number of the end of a stream whose process died is from those of its pieces. A viewer of the process
 * that ran the stream may have seen more than was kept: some seconds of it, or all that came while the database was
 * away. A million pieces are more than any model says in the ten minutes that a call may take: no piece has a number
 * from here on.
 */
export const KEPT_GAP = 2 ** 20;

/**
 * The parts of a stored answer have fixed places, whoever tells them: its reasoning, its text, each tool call, the end.
 * Number TOLD + 2 × place says "everything up to this part, and nothing behind it", so every source of the stream can
 * go on from it. The odd number before it says that something behind it was there as well, as text in between: only the
 * one who is telling it knows how much.
 */
export const TOLD = 2 * KEPT_GAP;
const REASONING = 1;
const TEXT = 2;
const FIRST_CALL = 3;
const seqOf = (place: number, isClear = true): number => TOLD + 2 * place - (isClear ? 0 : 1);

/** Whether a viewer with this number was told a stored answer. */
export const isTold = (seq: number): boolean => seq > TOLD && seq < TOLD + KEPT_GAP;
/** Nobody can go on from there: see above. */
export const isUnclear = (seq: number): boolean => isTold(seq) && seq % 2 === 1;

const NOTHING: AnswerText = { content: '', reasoning: '', toolCalls: [] };

/** An answer behind its beginning, which ends at number `lastSeq`, and its end; null: that is not its beginning. */
export function told(
  whole: AnswerText,
  end: Unnumbered<TerminalEvent>,
  lastSeq = 0,
  beginning = NOTHING,
): StreamEvent[] | null {
  const rest = restOf(whole, beginning);
  if (!rest) return null;
  const { content, reasoning, toolCalls } = rest;
  const begun =
    beginning.toolCalls.length > 0 ? FIRST_CALL + beginning.toolCalls.length - 1 : beginning.content ? TEXT : 0;
  const parts: [number, NewEvent][] = [
    ...(reasoning ? [[REASONING, { kind: 'ReasoningDelta', text: reasoning }] satisfies [number, NewEvent]] : []),
    ...(content ? [[TEXT, { kind: 'TextDelta', text: content }] satisfies [number, NewEvent]] : []),
    ...toolCalls.map((call): [number, NewEvent] => [FIRST_CALL + call.index, { kind: 'ToolCallDelta', ...call }]),
    [FIRST_CALL + whole.toolCalls.length, end],
  ];
  let after = lastSeq;
  return parts.map(([place, event]) => {
    const fromSeq = after + 1;
    after = seqOf(place, place >= begun);
    return { ...event, fromSeq, seq: after } as StreamEvent;
  });
}

/** The next event for the one who has been told the answer elsewhere, up to number `after`. */
export function toldBehind(end: TerminalEvent, after: number): StreamEvent | null {
  return isTold(after) ? nextOf(told(answerOf(end), end)!, after) : null;
}

export function nextOf(events: readonly StreamEvent[], after: number): StreamEvent | null {
  const next = events.find(({ seq }) => seq > after);
  return next ? { ...next, fromSeq: after + 1 } : null;
}

export function answerOf(end: Unnumbered<TerminalEvent>): AnswerText {
  const reply = end.kind === 'StreamRefused' ? null : end.kind === 'StreamFailed' ? end.partial : end.reply;
  return reply ? textOfMessage(reply.answer) : NOTHING;
}

/** A stored answer as a stream: its beginning at once, and the rest when it is known. Of nobody, and in no register. */
export class ToldStream implements ViewedStream {
  private readonly viewers = new Set<StreamListener>();
  private events: StreamEvent[];
  private isOver = false;

  constructor(started: NewEvent | null) {
    this.events = started ? [{ ...started, fromSeq: 1, seq: 1 } as StreamEvent] : [];
  }

  get lastSeq(): number {
    return this.events.at(-1)?.seq ?? 0;
  }
  get isWhole(): boolean {
    return this.isOver;
  }

  join(viewer: StreamListener): void {
    this.viewers.add(viewer);
  }

  leave(viewer: StreamListener): void {
    this.viewers.delete(viewer);
  }

  read(after: number): StreamEvent | null {
    return nextOf(this.events, after);
  }

  end(event: Unnumbered<TerminalEvent>): void {
    this.events = [...this.events, ...told(answerOf(event), event, this.lastSeq)!];
    this.isOver = true;
    for (const viewer of this.viewers) viewer.wake();
  }
}
