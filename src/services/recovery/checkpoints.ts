import type { Logger } from '../../lib/logger';
import { countEach } from '../../lib/token-estimate';
import { channelOf, describe, lengthOf, type ChannelName, type KeptPiece } from '../streams/kept-pieces';
import type { PieceLog } from '../streams/piece-log';
import type { CheckpointStore, NewCheckpoint } from './checkpoint.store';
import { isTerminal } from '../../domain/stream-events';
import type { CallName } from '../../domain/call';
import { isHighSurrogate } from '../../lib/surrogates';

export interface CheckpointsDeps {
  store: Pick<CheckpointStore, 'write'>;
  logger: Logger;
  /** A stream's pieces are written so many milliseconds after the last ones … */
  everyMs?: number;
  /** … or at the next look when there are so many characters. */
  everyCharacters?: number;
}

/** What a stream tells as it runs. Its pieces are read from its own log: nothing is done for a single one. */
export interface CheckpointHandle {
  /** Whom the answer comes from. */
  head(servedModel: string | null, deployment: string | null): void;
  /** The stream has ended: nothing of it is written any more. */
  end(): void;
}

/** With the time until the next look, and of the writing, what is kept is not older than two seconds. */
const EVERY_MS = 1_500;
/** One timer looks after all streams, so many times in `everyMs`, and at least so often. Milliseconds. */
const TICKS = 10;
const MAX_TICK_MS = 200;
/**
 * Characters of a channel and pieces in one row, and rows of one statement: after an outage there may be much to write.
 */
const MAX_CHARACTERS = 64 * 1024;
const MAX_PIECES = 8_192;
const MAX_ROWS = 64;
const COUNTED_AT_ONCE = 8;
/** Milliseconds between two log lines about failures. */
const REPORT_EVERY_MS = 60_000;

/**
 * Keeps what running streams have produced in the database, in steps, so that it is known what a process that dies has
 * left. What is due at one moment is written together. A database that fails disturbs no stream: what was not written
 * is in its log the next time, too.
 */
export class Checkpoints {
  private readonly everyMs: number;
  private readonly streams = new Set<StreamText>();
  private timer: NodeJS.Timeout | null = null;
  private writing: Promise<void> | null = null;
  private reportedAt = -Infinity;

  constructor(private readonly deps: CheckpointsDeps) {
    this.everyMs = deps.everyMs ?? EVERY_MS;
  }

  /** `log`: of the stream, whose first event is told from the call itself. */
  begin(call: CallName, log: PieceLog): CheckpointHandle {
    const stream = new StreamText(call, log, this.deps.everyCharacters ?? 4_096, () => {
      this.streams.delete(stream);
      if (this.streams.size === 0) this.stopTimer();
    });
    this.streams.add(stream);
    this.timer ??= setInterval(() => void this.write(), Math.min(this.everyMs / TICKS, MAX_TICK_MS)).unref();
    return stream;
  }

  /** Nothing is written after this. */
  async stop(): Promise<void> {
    this.stopTimer();
    this.streams.clear();
    await this.writing;
  }

  /** Writes what is due. Never throws. While one is under way, what becomes due waits for the next. */
  write(): Promise<void> {
    this.writing ??= this.writeDue().finally(() => (this.writing = null));
    return this.writing;
  }

  private async writeDue(): Promise<void> {
    const nowMs = performance.now();
    const due = [...this.streams].filter((stream) => stream.isDue(nowMs - this.everyMs));
    for (let from = 0; from < due.length; from += MAX_ROWS) await this.writeGroup(due.slice(from, from + MAX_ROWS));
  }

  private async writeGroup(due: StreamText[]): Promise<void> {
    const rows: NewCheckpoint[] = [];
    const streams: StreamText[] = [];
    try {
      for (const stream of due) {
        const row = stream.take();
        if (!row) continue;
        streams.push(stream);
        rows.push(row);
        // Counting the tokens of many streams takes a while: others have their turn between.
        if (rows.length % COUNTED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      if (rows.length === 0) return;
      await this.deps.store.write(rows);
      for (const stream of streams) stream.written();
    } catch (error) {
      for (const stream of streams) stream.notWritten();
      if (performance.now() - this.reportedAt < REPORT_EVERY_MS) return;
      this.reportedAt = performance.now();
      this.deps.logger.warn(
        { streams: streams.length, err: error },
        'checkpoints of streams could not be written and will be written with the next ones',
      );
    }
  }

  private stopTimer(): void {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
  }
}

/** One channel of an answer: text, reasoning or tool calls. */
class Channel {
  private texts: string[] = [];
  /** Of the whole stream: what came, and what was taken. */
  came = 0;
  taken = 0;

  add(text: string): void {
    if (text === '') return;
    this.texts.push(text);
    this.came += text.length;
  }

  /**
   * What came since. Half of a surrogate pair waits for its other half: alone it could not be stored, and the sign
   * would be lost.
   */
  take(mayWait: boolean): string {
    if (this.texts.length === 0) return '';
    const all = this.texts.length === 1 ? this.texts[0]! : this.texts.join('');
    let end = Math.min(all.length, MAX_CHARACTERS);
    if ((mayWait || end < all.length) && isHighSurrogate(all.charCodeAt(end - 1))) end -= 1;
    this.texts = end < all.length ? [all.slice(end)] : [];
    this.taken += end;
    return end < all.length ? all.slice(0, end) : all;
  }
}

class StreamText implements CheckpointHandle {
  private readonly channels = { content: new Channel(), reasoning: new Channel(), tools: new Channel() };
  /** The last one to which something was added. */
  private lastChannel: ChannelName | null = null;
  /**
   * Number of the last piece that was read from the log, and of the last one that is in a row. StreamStarted is in
   * none.
   */
  private readSeq = 1;
  private rowSeq = 1;
  /** Characters of the log until there, as it counts them. */
  private readCharacters = 0;
  /** Pieces that were read and are in no row, since their text is not yet, and where it ends in its channel. */
  private waiting: KeptPiece[] = [];
  private ends: number[] = [];
  private lastAtMs = performance.now();
  private number = 0;
  private completionTokens = 0;
  private servedModel: string | null = null;
  private deployment: string | null = null;
  /** Being written, or to be written again: whether it was is not known. */
  private row: NewCheckpoint | null = null;
  private failed = false;

  constructor(
    private readonly call: CallName,
    private readonly log: PieceLog,
    private readonly everyCharacters: number,
    private readonly onEnd: () => void,
  ) {}

  head(servedModel: string | null, deployment: string | null): void {
    this.servedModel = servedModel;
    this.deployment = deployment;
  }

  end(): void {
    this.onEnd();
  }

  /** Something came, and it is much, or the last checkpoint is old enough. After a failure only time counts. */
  isDue(olderThanMs: number): boolean {
    if (!this.row && this.waiting.length === 0 && this.log.lastSeq <= this.readSeq) return false;
    return (
      this.lastAtMs <= olderThanMs ||
      (!this.failed && this.log.textLength - this.readCharacters >= this.everyCharacters)
    );
  }

  /** null: there is only half a sign, which waits for its other half. */
  take(): NewCheckpoint | null {
    this.row ??= this.nextRow();
    if (this.row) this.lastAtMs = performance.now();
    return this.row;
  }

  written(): void {
    this.row = null;
    this.failed = false;
  }

  notWritten(): void {
    this.failed = true;
  }

  private nextRow(): NewCheckpoint | null {
    this.readLog();
    const texts = { content: '', reasoning: '', tools: '' };
    for (const name of Object.keys(texts) as ChannelName[])
      texts[name] = this.channels[name].take(name === this.lastChannel);
    let whole = 0;
    while (whole < this.waiting.length && this.isTaken(whole)) whole += 1;
    if (whole === 0 && !texts.content && !texts.reasoning && !texts.tools) return null;
    const pieces = this.waiting.splice(0, whole);
    this.ends.splice(0, whole);
    const firstSeq = this.rowSeq + 1;
    this.rowSeq += whole;
    for (const tokens of countEach([texts.content, texts.reasoning, texts.tools])) this.completionTokens += tokens;
    const { call, completionTokens, servedModel, deployment, rowSeq: lastSeq } = this;
    return {
      organizationId: call.organizationId,
      callId: call.id,
      number: (this.number += 1),
      ...texts,
      firstSeq,
      lastSeq,
      pieces,
      completionTokens,
      servedModel,
      deployment,
    };
  }

  private isTaken(index: number): boolean {
    const channel = channelOf(this.waiting[index]!);
    return channel === null || this.channels[channel].taken >= this.ends[index]!;
  }

  /** What does not fit into one row is left in the log, but for one big piece. */
  private readLog(): void {
    if (
      this.waiting.length >= MAX_PIECES ||
      Object.values(this.channels).some(({ came, taken }) => came - taken > MAX_CHARACTERS)
    )
      return;
    for (const group of this.log.groups(this.readSeq, Math.min(this.log.lastSeq, this.readSeq + MAX_PIECES))) {
      // It has ended meanwhile.
      if (!('header' in group) && isTerminal(group)) break;
      const { pieces, text } = describe(group);
      const channel = channelOf(pieces[0]!);
      let end = channel ? this.channels[channel].came : 0;
      for (const piece of pieces) {
        this.waiting.push(piece);
        this.ends.push((end += lengthOf(piece)));
      }
      this.readSeq += pieces.length;
      if ('header' in group) this.readCharacters += group.text.length;
      if (!channel) continue;
      this.channels[channel].add(text);
      if (text !== '') this.lastChannel = channel;
      if (this.channels[channel].came - this.channels[channel].taken > MAX_CHARACTERS) break;
    }
  }
}
