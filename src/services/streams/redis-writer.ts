import { entriesOf, readEntry } from './redis-entry';
import { runScript, type RedisKeys } from './redis-keys';
import type { RedisConnection } from './redis-link';
import { APPEND } from './redis-scripts';
import { type Appended, type RunningStream, type SharedLogWriter } from './stream.types';
import { isTerminal, type TerminalEvent } from '../../domain/stream-events';

export interface RedisWriterDeps {
  connection: Pick<RedisConnection, 'send' | 'isUp'>;
  keys: RedisKeys;
  streamId: string;
  /** The process that writes. */
  owner: string;
  stream(): RunningStream;
  /** How long a log is kept that nothing is appended to, while the stream runs and behind its end. Milliseconds. */
  runningMs: number;
  keptMs: number;
  onFailure(error: unknown): void;
  onReleased(): void;
}

/** Joined pieces come at most fifty times a second: of a stream that lasts twenty minutes nothing is trimmed. */
const MAX_ENTRIES = 65_536;
/** Characters of one append. A log that is filled after an outage goes in several. */
const MAX_CHARACTERS = 256 * 1024;
/** Appends that changed nothing: somebody else takes the log for theirs, or it goes away as fast as it is written. */
const MAX_VAIN = 3;
/** How long a Redis that has refused an append is left alone by the frames that follow. Milliseconds. */
const REFUSED_MS = 1_000;
const CLOSED = -1;
/** No log goes on with this number: nothing is appended. */
const ONLY_ASK = 0;

/**
 * Keeps the log of one stream of this process in Redis. What was missed while Redis was away is appended with what
 * comes next, or by `sync`.
 */
export class RedisWriter implements SharedLogWriter {
  private kept = 0;
  /** What Redis has may have been lost with it: it is asked. */
  private isUnsure = false;
  private closed = false;
  private owes = false;
  /** performance.now() until which nothing is tried. */
  private notBeforeMs = -Infinity;
  private appending = 0;
  /** One append after the other, also when Redis comes back in the middle of one. */
  private tail: Promise<unknown> = Promise.resolve();

  constructor(private readonly deps: RedisWriterDeps) {}

  /** Something was shown that Redis does not have. */
  get isOwing(): boolean {
    return this.owes && !this.closed;
  }
  get isBusy(): boolean {
    return this.appending > 0;
  }
  /** Resolves when nothing is being appended. */
  async settled(): Promise<void> {
    for (let last: unknown = null; last !== this.tail;) {
      last = this.tail;
      await last;
      // What came meanwhile is appended in the turn after it.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  append(until: number): Promise<Appended> {
    this.appending += 1;
    const appended = this.tail.then(async () => {
      const result = await this.appendUntil(until);
      this.owes = result === 'AWAY';
      this.appending -= 1;
      return result;
    });
    this.tail = appended;
    return appended;
  }

  /** Redis is back, and may have lost what it had. */
  async sync(): Promise<Appended> {
    this.isUnsure = true;
    return this.append(this.deps.stream().log.lastSeq);
  }

  async theirEnd(): Promise<TerminalEvent | null> {
    const { connection, keys, streamId } = this.deps;
    try {
      const [top] = (await connection.send(['XREVRANGE', keys.log(streamId), '+', '-', 'COUNT', '1'])) as unknown[];
      if (!top) return null;
      const { event, fromSeq, seq } = readEntry(top);
      return isTerminal(event) ? ({ ...event, fromSeq, seq } as TerminalEvent) : null;
    } catch (error) {
      this.deps.onFailure(error);
      return null;
    }
  }

  release(): void {
    // What is being appended now still is.
    this.deps.onReleased();
  }

  private async appendUntil(until: number): Promise<Appended> {
    for (let vain = 0; vain < MAX_VAIN;) {
      if (this.closed) return 'CLOSED';
      if (this.kept >= until && !this.isUnsure) return 'KEPT';
      // All that was missed would be made ready for nothing, with each frame anew.
      if (!this.deps.connection.isUp) return 'AWAY';
      if (!this.isUnsure && !this.deps.stream().ended && performance.now() < this.notBeforeMs) return 'AWAY';
      let last: number;
      try {
        last = await this.appendSome(until);
      } catch (error) {
        this.notBeforeMs = performance.now() + REFUSED_MS;
        this.deps.onFailure(error);
        return 'AWAY';
      }
      if (last === CLOSED) {
        this.closed = true;
        return 'CLOSED';
      }
      vain = last > this.kept ? 0 : vain + 1;
      this.kept = last;
      this.isUnsure = false;
    }
    this.deps.onFailure(new Error('the log in Redis does not take what is appended'));
    return 'AWAY';
  }

  private appendSome(until: number): Promise<number> {
    const { connection, keys, streamId, owner, runningMs, keptMs } = this.deps;
    const { log, viewerCount, ended } = this.deps.stream();
    const words: string[] = [];
    let characters = 0;
    for (const entry of this.isUnsure ? [] : entriesOf(log, this.kept, until, owner, viewerCount)) {
      words.push(String(entry.seq), String(entry.words.length), ...entry.words);
      characters += entry.words[5]!.length;
      // unpack() in Lua is bounded, and other streams wait.
      if (characters > MAX_CHARACTERS || words.length > 4_000) break;
    }
    const keepMs = ended && until === log.lastSeq ? keptMs : runningMs;
    return runScript(connection, APPEND, keys.log(streamId), [
      owner,
      String(keepMs),
      keys.appended(streamId),
      String(MAX_ENTRIES),
      String(this.isUnsure ? ONLY_ASK : this.kept + 1),
      ...words,
    ]);
  }
}
