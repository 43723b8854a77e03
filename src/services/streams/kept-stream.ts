import { AppError } from '../../errors';
import { terminalEvent, type StreamEvent, type NewEvent } from '../../domain/stream-events';
import { textOf, type AnswerText, type KnownEnd } from './kept-end';
import { KeptReader } from './kept-pieces';
import type { KeptLook } from './kept.store';
import { PieceLog } from './piece-log';
import type { StreamListener, ViewedStream } from './stream.types';
import { answerOf, isTold, isUnclear, KEPT_GAP, nextOf, told } from './told-answer';
import type { CallOutcome } from '../../domain/outcome';

/**
 * A stream of another process, or of one that is dead: what is kept of it in the database, and how it ended. Everybody
 * who reads it is given the same numbers.
 */
export class KeptStream implements ViewedStream {
  private readonly log = new PieceLog();
  private readonly reader: KeptReader;
  private readonly viewers = new Set<StreamListener>();
  /**
   * What is behind the kept pieces, with numbers far behind theirs; the last one is the terminal event. null: it runs.
   */
  private ending: StreamEvent[] | null = null;
  /** The same for the one who was told the answer elsewhere: all of it. */
  private whole: StreamEvent[] = [];
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

  read(after: number): StreamEvent | null {
    if (after < this.log.lastSeq) return this.log.read(after);
    return this.ending && nextOf(isTold(after) && !isUnclear(after) ? this.whole : this.ending, after);
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
  end({ outcome, answer, isLost = false }: KnownEnd): void {
    if (this.ending) return;
    const { lastSeq } = this.log;
    const end = terminalEvent(outcome);
    const rest = answer && told(answer, end, lastSeq, this.keptText);
    const isAll = isLost && rest?.length === 1;
    this.whole = told(answer ?? answerOf(end), end)!;
    // The logs of other replicas end a lost stream with the same number.
    this.ending = isAll
      ? [{ ...rest[0]!, seq: lastSeq + KEPT_GAP }]
      : (rest ?? [{ ...this.whole.at(-1)!, fromSeq: lastSeq + 1 }]);
    if (!rest) this.gone = notKept(this.callId, null);
    else if (rest.length > 1) this.gone = notKept(this.callId, outcome);
    for (const viewer of this.viewers) {
      this.failOutside(viewer);
      viewer.wake();
    }
  }

  fail(error: unknown): void {
    for (const viewer of this.viewers) viewer.fail(error);
  }

  /**
   * A viewer that has pieces which were not kept cannot be told where in the rest they end; and of a rest that is
   * stored nowhere there is nothing to tell.
   */
  private failOutside(viewer: StreamListener): void {
    const { after } = viewer;
    if (!this.ending || !this.gone || after === this.lastSeq) return;
    const hasRest = this.ending.length > 1;
    if (!hasRest || (after > this.log.lastSeq && !isTold(after))) viewer.fail(this.gone);
  }
}

function notKept(callId: string, outcome: CallOutcome | null): AppError {
  const reply = outcome && (outcome.status === 'FAILED' ? outcome.partial : outcome.reply);
  const where = reply?.conversation
    ? `Its answer is message ${reply.answer.id} of conversation ${reply.conversation.id}.`
    : outcome
      ? 'Resume it from the beginning (afterSeq 0).'
      : 'Its answer was not stored.';
  return new AppError('NOT_FOUND', {
    argument: 'streamId',
    public: `streamId: the events of this stream are not kept any more (STREAM_KEPT_MS behind its end, by default 10 minutes); it has ended as call ${callId}. ${where}`,
  });
}
