import { AppError } from '../../errors';
import { terminalEvent } from '../chat/replay';
import type { CallOutcome } from '../chat/call-run';
import type { ChatEvent } from '../chat/chat.types';
import { restOf, textOf, type AnswerText, type KnownEnd, type RestOfAnswer } from './kept-end';
import { KeptReader } from './kept-pieces';
import type { KeptLook } from './kept.store';
import { PieceLog } from './piece-log';
import type { NewEvent, StreamListener, ViewedStream } from './stream.types';

/**
 * How far the numbers of what comes behind the kept pieces are from them. A viewer of the process that ran the stream may have seen more
 * than was kept: some seconds of it, or all that came while the database was away. A million pieces are more than any model says in the
 * ten minutes that a call may take. So whoever saw what was never kept goes on behind it, and a number from here is none of a piece that the
 * process itself has given: where it lives, it does not take the one for the other.
 */
export const KEPT_GAP = 2 ** 20;

/** A stream of another process, or of one that is dead: what is kept of it in the database, and how it ended. Everybody who reads it is given the same numbers. */
export class KeptStream implements ViewedStream {
  private readonly log = new PieceLog();
  private readonly reader: KeptReader;
  private readonly viewers = new Set<StreamListener>();
  /** What is behind the kept pieces, with numbers from KEPT_GAP on; the last one is the terminal event. null: it runs. */
  private ending: ChatEvent[] | null = null;
  /** Why whoever has other pieces than these cannot be told the rest. */
  private gone: AppError | null = null;
  /** Of the last checkpoint that was read. */
  lastRow = 0;

  constructor(
    readonly callId: string,
    started: NewEvent,
    /** Somebody looks at it. Gives why nobody can, or null. */
    private readonly onJoin: () => Error | null,
  ) {
    this.log.append(started);
    this.reader = new KeptReader(this.log);
  }

  get keptText(): AnswerText {
    return textOf(this.log.pieces(1));
  }
  get viewerCount(): number {
    return this.viewers.size;
  }
  get lastSeq(): number {
    return this.ending ? this.ending.at(-1)!.seq : this.log.lastSeq;
  }
  get maxAfter(): number {
    return this.ending ? this.lastSeq : this.log.lastSeq + KEPT_GAP;
  }
  get isWhole(): boolean {
    return this.ending !== null;
  }

  join(viewer: StreamListener): void {
    this.viewers.add(viewer);
    const refused = this.onJoin();
    if (refused) viewer.fail(refused);
    else this.failOutside(viewer);
  }

  leave(viewer: StreamListener): void {
    this.viewers.delete(viewer);
  }

  read(after: number): ChatEvent | null {
    if (after < this.log.lastSeq) return this.log.read(after);
    const { ending } = this;
    if (!ending) return null;
    const next = ending.find(({ seq }) => seq > after) ?? ending.at(-1)!;
    return { ...next, fromSeq: after + 1, seq: Math.max(next.seq, after + 1) };
  }

  /** More was kept. */
  add({ rows }: Pick<KeptLook, 'rows'>): void {
    for (const row of rows) {
      this.lastRow = row.number;
      this.reader.add(row);
    }
    if (rows.length > 0) for (const viewer of this.viewers) viewer.wake();
  }

  /** The call has ended: the rest of the answer where it is known, and the terminal event. */
  end({ outcome, answer }: KnownEnd): void {
    if (this.ending) return;
    const rest = answer && restOf(answer, this.keptText);
    const events: NewEvent[] = [...(rest ? pieces(rest) : []), terminalEvent(outcome)];
    let fromSeq = this.log.lastSeq + 1;
    let seq = this.log.lastSeq + KEPT_GAP;
    this.ending = events.map((event) => {
      const numbered = { ...event, fromSeq, seq } as ChatEvent;
      fromSeq = seq += 1;
      return numbered;
    });
    if (!rest) this.gone = notKept(this.callId, null);
    else if (events.length > 1) this.gone = notKept(this.callId, outcome);
    for (const viewer of this.viewers) {
      this.failOutside(viewer);
      viewer.wake();
    }
  }

  fail(error: unknown): void {
    for (const viewer of this.viewers) viewer.fail(error);
  }

  /** A viewer that has pieces which were not kept cannot be told where in the rest they end; and of a rest that is stored nowhere there is nothing to tell. */
  private failOutside(viewer: StreamListener): void {
    if (!this.ending || !this.gone) return;
    const isEnding = this.ending.some(({ seq }) => seq === viewer.after);
    const hasRest = this.ending.length > 1;
    if (!isEnding && (!hasRest || viewer.after > this.log.lastSeq)) viewer.fail(this.gone);
  }
}

const pieces = ({ content, reasoning, toolCalls }: RestOfAnswer): NewEvent[] => [
  ...(reasoning ? [{ kind: 'ReasoningDelta' as const, text: reasoning }] : []),
  ...(content ? [{ kind: 'TextDelta' as const, text: content }] : []),
  ...toolCalls.map((call) => ({ kind: 'ToolCallDelta' as const, ...call })),
];

function notKept(callId: string, outcome: CallOutcome | null): AppError {
  const reply = outcome && (outcome.status === 'FAILED' ? outcome.partial : outcome.reply);
  const where = reply?.conversation ? `Its answer is message ${reply.answer.id} of conversation ${reply.conversation.id}.` : outcome ? 'Resume it from the beginning (afterSeq 0).' : 'Its answer was not stored.';
  return new AppError('NOT_FOUND', { argument: 'streamId', public: `streamId: the events of this stream are not kept any more (STREAM_KEPT_MS behind its end, by default 10 minutes); it has ended as call ${callId}. ${where}` });
}

