import type { Logger } from '../../lib/logger';
import { countEach } from '../../lib/token-estimate';
import type { Piece } from '../chat/answer';
import type { CheckpointStore, NewCheckpoint } from './checkpoint.store';

export interface CheckpointsDeps {
  store: Pick<CheckpointStore, 'write'>;
  logger: Logger;
  /** A stream's text is in the database so many milliseconds after it came … */
  everyMs?: number;
  /** … or when there are so many characters of it. */
  everyCharacters?: number;
}

/** What a stream tells as it runs. Called for every token. */
export interface CheckpointHandle {
  piece(piece: Piece): void;
  /** Whom the answer comes from. */
  head(servedModel: string | null, deployment: string | null): void;
  /** The stream has ended: nothing of it is written any more. */
  end(): void;
}

/** One timer looks after all streams, so many times in `everyMs`. */
const TICKS = 10;
/** Characters of a channel in one row, and rows of one statement: after an outage there may be much to write. */
const MAX_CHARACTERS = 64 * 1024;
const MAX_ROWS = 64;
const COUNTED_AT_ONCE = 8;
/** Milliseconds between two log lines about failures. */
const REPORT_EVERY_MS = 60_000;

/**
 * Keeps what running streams have produced in the database, in steps, so that it is known what a process that dies has left. What is due
 * at one moment is written together. A database that fails disturbs no stream: the text is kept for the next time. It is the text of the
 * answer, which is in memory anyway, and bounded there.
 */
export class Checkpoints {
  private readonly everyMs: number;
  private readonly streams = new Set<StreamText>();
  private timer: NodeJS.Timeout | null = null;
  private soon: NodeJS.Immediate | null = null;
  private writing: Promise<void> | null = null;
  private reportedAt = -Infinity;

  constructor(private readonly deps: CheckpointsDeps) {
    this.everyMs = deps.everyMs ?? 2_000;
  }

  begin(callId: string): CheckpointHandle {
    const stream = new StreamText(callId, this.deps.everyCharacters ?? 4_096, {
      full: () => {
        this.soon ??= setImmediate(() => {
          this.soon = null;
          void this.write();
        });
      },
      ended: () => {
        this.streams.delete(stream);
        if (this.streams.size === 0) this.stopTimer();
      },
    });
    this.streams.add(stream);
    this.timer ??= setInterval(() => void this.write(), this.everyMs / TICKS).unref();
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

  private async writeGroup(streams: StreamText[]): Promise<void> {
    const rows: NewCheckpoint[] = [];
    try {
      for (const stream of streams) {
        rows.push(stream.take());
        // Counting the tokens of many streams takes a while: others have their turn between.
        if (rows.length % COUNTED_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await this.deps.store.write(rows);
      for (const stream of streams) stream.written();
    } catch (error) {
      for (const stream of streams) stream.notWritten();
      if (performance.now() - this.reportedAt < REPORT_EVERY_MS) return;
      this.reportedAt = performance.now();
      this.deps.logger.warn({ streams: streams.length, err: error }, 'checkpoints of streams could not be written: tried again with the next ones');
    }
  }

  private stopTimer(): void {
    if (this.timer) clearInterval(this.timer);
    if (this.soon) clearImmediate(this.soon);
    this.timer = null;
    this.soon = null;
  }
}

/** One channel of an answer: text, reasoning or tool calls. */
class Channel {
  private texts: string[] = [];

  add(text: string): void {
    this.texts.push(text);
  }

  /** What came since. Half of a surrogate pair waits for its other half: alone it could not be stored, and the sign would be lost. */
  take(): string {
    const all = this.texts.length === 1 ? this.texts[0]! : this.texts.join('');
    let end = Math.min(all.length, MAX_CHARACTERS);
    if (end > 0 && isHighSurrogate(all.charCodeAt(end - 1))) end -= 1;
    this.texts = end < all.length ? [all.slice(end)] : [];
    return end < all.length ? all.slice(0, end) : all;
  }

  /** That can be taken. */
  get characters(): number {
    const [only = '', ...more] = this.texts;
    if (only.length === 1 && more.length === 0 && isHighSurrogate(only.charCodeAt(0))) return 0;
    return this.texts.reduce((sum, text) => sum + text.length, 0);
  }
}

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;

class StreamText implements CheckpointHandle {
  private readonly content = new Channel();
  private readonly reasoning = new Channel();
  private readonly tools = new Channel();
  /** That came since the last checkpoint. */
  private characters = 0;
  private lastAtMs = performance.now();
  private number = 0;
  private completionTokens = 0;
  private servedModel: string | null = null;
  private deployment: string | null = null;
  /** Being written, or to be written again: whether it was is not known. */
  private row: NewCheckpoint | null = null;
  private failed = false;

  constructor(
    private readonly callId: string,
    private readonly everyCharacters: number,
    private readonly on: { full(): void; ended(): void },
  ) {}

  piece(piece: Piece): void {
    if (piece.kind === 'TextDelta') this.add(this.content, piece.text);
    else if (piece.kind === 'ReasoningDelta') this.add(this.reasoning, piece.text);
    else {
      if (piece.name) this.add(this.tools, piece.name);
      this.add(this.tools, piece.arguments);
    }
  }

  head(servedModel: string | null, deployment: string | null): void {
    this.servedModel = servedModel;
    this.deployment = deployment;
  }

  end(): void {
    this.on.ended();
  }

  /** Something came, and it is much, or the last checkpoint is old enough. After a failure only time counts. */
  isDue(olderThanMs: number): boolean {
    if (!this.row && this.characters === 0) return false;
    return this.lastAtMs <= olderThanMs || (!this.failed && this.characters >= this.everyCharacters);
  }

  take(): NewCheckpoint {
    if (!this.row) {
      const [content, reasoning, tools] = [this.content.take(), this.reasoning.take(), this.tools.take()];
      this.characters = this.content.characters + this.reasoning.characters + this.tools.characters;
      for (const tokens of countEach([content, reasoning, tools])) this.completionTokens += tokens;
      this.row = { callId: this.callId, number: (this.number += 1), content, reasoning, tools, completionTokens: this.completionTokens, servedModel: this.servedModel, deployment: this.deployment };
    }
    this.lastAtMs = performance.now();
    return this.row;
  }

  written(): void {
    this.row = null;
    this.failed = false;
  }

  notWritten(): void {
    this.failed = true;
  }

  private add(channel: Channel, text: string): void {
    const before = this.characters;
    channel.add(text);
    this.characters += text.length;
    if (before < this.everyCharacters && this.characters >= this.everyCharacters) this.on.full();
  }
}
