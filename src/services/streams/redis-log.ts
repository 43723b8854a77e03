import { randomBytes } from 'node:crypto';
import type { Logger } from '../../lib/logger';
import { readEntry } from './redis-entry';
import { RedisEnds } from './redis-ends';
import { RedisKeys, runScript } from './redis-keys';
import { RedisConnection } from './redis-link';
import { logAway, RedisReader } from './redis-reader';
import { COUNT, WATCH } from './redis-scripts';
import { RedisWriter } from './redis-writer';
import type { StreamEnds } from './stream-ends';
import type { Viewer } from '../../domain/principal';
import type { RunningStream, SharedLog, StreamOwner, ViewedStream } from './stream.types';

export interface RedisLogDeps {
  url: string;
  /** Two installations can share a Redis. */
  installation: string;
  ends: Pick<StreamEnds, 'look' | 'terminalEvent'>;
  /**
   * How long a stream's log is kept behind its end, and how long a stream takes at most with all that follows it.
   * Milliseconds.
   */
  keptMs: number;
  longestMs: number;
  logger: Logger;
}

/** How often everything that is looked at is asked for, in case that a message was lost. Milliseconds. */
const LOOK_MS = 2_000;
/** How long a replica counts as looking after it has last said so: three looks may be late. Milliseconds. */
const WATCHED_MS = 4 * LOOK_MS;
/** How long a log that nobody of this process looks at stays read, for one who comes back. Milliseconds. */
const IDLE_MS = 5_000;
/** Logs that are brought up to date at once when Redis is back. */
const SYNCED_AT_ONCE = 64;
const MAX_INCOMPLETE = 1_000;

/** The logs of streams in Redis: those of this process are written, those of others read. */
export class RedisLog implements SharedLog {
  private readonly replica = randomBytes(6).toString('base64url');
  private readonly keys: RedisKeys;
  private readonly commands: RedisConnection;
  private readonly messages: RedisConnection;
  private readonly writers = new Map<string, RedisWriter>();
  private readonly readers = new Map<string, RedisReader>();
  private readonly opening = new Map<string, Promise<RedisReader | null>>();
  /** Streams that have ended, with logs that have not all of them: they are told from what else is kept. */
  private readonly incomplete = new Set<string>();
  private readonly leftListeners: ((streamId: string) => void)[] = [];
  private readonly ends: RedisEnds;
  private looker: NodeJS.Timeout | null = null;
  private syncing: Promise<void> = Promise.resolve();
  private refusedAtMs = -Infinity;

  constructor(private readonly deps: RedisLogDeps) {
    const { url, logger, keptMs } = deps;
    this.keys = new RedisKeys(deps.installation);
    this.commands = new RedisConnection({
      url,
      logger,
      name: 'commands',
      onUp: () => this.up(),
      onDown: () => this.detachAll(),
    });
    this.messages = new RedisConnection({
      url,
      logger,
      name: 'messages',
      onUp: () => this.subscribeAll(),
      onDown: () => {},
    });
    this.ends = new RedisEnds({
      ends: deps.ends,
      connection: this.commands,
      keys: this.keys,
      replica: this.replica,
      keptMs,
      onIncomplete: (streamId) => this.forgo(streamId),
      logger,
    });
  }

  /** Resolves when Redis has answered once, or not: it may come later. */
  async start(): Promise<void> {
    await Promise.all([this.commands.start(), this.messages.start()]);
    this.looker = setInterval(() => void this.look(), LOOK_MS).unref();
  }

  stop(): void {
    if (this.looker) clearInterval(this.looker);
    this.detachAll();
    this.commands.stop();
    this.messages.stop();
  }

  writer(owner: Pick<StreamOwner, 'streamId'>, stream: () => RunningStream): RedisWriter {
    const { streamId } = owner;
    const writer = new RedisWriter({
      connection: this.commands,
      keys: this.keys,
      streamId,
      owner: this.replica,
      stream,
      runningMs: this.deps.longestMs + this.deps.keptMs,
      keptMs: this.deps.keptMs,
      onFailure: (error) => this.refused(error),
      onReleased: () => this.writers.delete(streamId),
    });
    this.writers.set(streamId, writer);
    return writer;
  }

  async open(streamId: string, viewer: Viewer): Promise<ViewedStream | null> {
    if (this.incomplete.has(streamId)) return null;
    const known = this.readers.get(streamId);
    if (known && !known.hasFailed && known.lastSeq > 0) {
      // Whoever is about to look keeps it.
      known.idleSinceMs = performance.now();
      await known.pull();
      if (!known.hasFailed) return known;
    }
    if (known?.hasFailed) this.forget(known);
    let opening = this.opening.get(streamId);
    if (!opening) {
      opening = this.openNew(streamId, viewer).finally(() => this.opening.delete(streamId));
      this.opening.set(streamId, opening);
    }
    return opening;
  }

  async viewersElsewhere(streamId: string): Promise<number | null> {
    return runScript(this.commands, COUNT, this.keys.viewers(streamId), [this.replica]).catch(() => null);
  }

  onLeft(listener: (streamId: string) => void): void {
    this.leftListeners.push(listener);
  }

  /** Last number and viewers of streams of any process, as far as their logs tell; null: they cannot be reached. */
  async seen(streamIds: readonly string[]): Promise<Map<string, { lastSeq: number; viewers: number }> | null> {
    try {
      const seen = new Map<string, { lastSeq: number; viewers: number }>();
      await Promise.all(
        streamIds.map(async (streamId) => {
          const [tops, elsewhere] = await Promise.all([
            this.commands.send(['XREVRANGE', this.keys.log(streamId), '+', '-', 'COUNT', '1']),
            runScript(this.commands, COUNT, this.keys.viewers(streamId), ['']),
          ]);
          const [top] = tops as unknown[];
          if (!top) return;
          const { seq, viewers } = readEntry(top);
          seen.set(streamId, { lastSeq: seq, viewers: viewers + elsewhere });
        }),
      );
      return seen;
    } catch {
      return null;
    }
  }

  /**
   * For the operator. DEGRADED: Redis answers, and something is missing in it, or messages do not come and viewers wait
   * for the next look.
   */
  status(): { state: 'UP' | 'DEGRADED' | 'DOWN'; detail: string | null } {
    if (!this.commands.isUp)
      return {
        state: 'DOWN',
        detail: `Redis ${this.commands.problem}: streams can be watched and resumed at the process that runs them only`,
      };
    const behind = [...this.writers.values()].filter((writer) => writer.isOwing).length;
    if (behind > 0) return { state: 'DEGRADED', detail: `the logs of ${behind} streams are being filled` };
    if (!this.messages.isUp)
      return {
        state: 'DEGRADED',
        detail: 'messages do not arrive: viewers of streams of other processes wait up to two seconds',
      };
    return { state: 'UP', detail: null };
  }

  /** Resolves when what was shown is kept, where Redis can be reached. */
  async flush(): Promise<void> {
    await this.syncing;
    await Promise.all([...this.writers.values()].map((writer) => writer.settled()));
  }

  private async openNew(streamId: string, viewer: Viewer): Promise<RedisReader | null> {
    if (!this.commands.isUp) throw logAway();
    const reader: RedisReader = new RedisReader({
      connection: this.commands,
      keys: this.keys,
      streamId,
      viewer,
      onWatched: (watched) => this.watched(reader, watched),
    });
    this.readers.set(streamId, reader);
    // Before the first reading: what is appended after it is told.
    await this.subscribe(reader);
    await reader.pull();
    const isThere = reader.lastSeq > 0;
    if (!isThere || reader.hasFailed) this.forget(reader);
    reader.assertReadable();
    return isThere ? reader : null;
  }

  private async subscribe(reader: RedisReader): Promise<void> {
    // Without messages the looks find what is new.
    await this.messages.subscribe(this.keys.appended(reader.streamId), () => void reader.pull()).catch(() => {});
  }

  private forgo(streamId: string): void {
    // Whoever asks for one that was thrown out is sent here again.
    if (this.incomplete.size >= MAX_INCOMPLETE) this.incomplete.clear();
    this.incomplete.add(streamId);
  }

  private forget(reader: RedisReader): void {
    if (this.readers.get(reader.streamId) !== reader) return;
    this.readers.delete(reader.streamId);
    this.messages.unsubscribe(this.keys.appended(reader.streamId)).catch(() => {});
  }

  private watched(reader: RedisReader, watched: boolean): void {
    // Its end is known: nobody asks any more who looks.
    if (reader.isWhole) return;
    const { streamId } = reader;
    void this.tell(streamId, watched ? reader.viewerCount : 0);
  }

  private async tell(streamId: string, viewers: number): Promise<void> {
    await runScript(this.commands, WATCH, this.keys.viewers(streamId), [
      this.replica,
      String(viewers),
      String(WATCHED_MS),
      this.keys.left,
      streamId,
    ]).catch((error: unknown) => this.refused(error));
  }

  private up(): void {
    this.syncing = this.syncing.then(async () => {
      const writers = [...this.writers.values()];
      for (let from = 0; from < writers.length; from += SYNCED_AT_ONCE)
        await Promise.all(writers.slice(from, from + SYNCED_AT_ONCE).map((writer) => writer.sync()));
    });
  }

  private subscribeAll(): void {
    const told = (streamId: string): void => {
      for (const listener of this.leftListeners) listener(streamId);
    };
    this.messages.subscribe(this.keys.left, told).catch(() => {});
    for (const reader of this.readers.values()) void this.subscribe(reader).then(() => reader.pull());
  }

  /** Nothing false is told: not that a stream has ended, but that it cannot be read here and now. */
  private detachAll(): void {
    for (const reader of this.readers.values()) {
      if (!reader.isWhole) reader.fail(logAway());
      this.forget(reader);
    }
  }

  private async look(): Promise<void> {
    if (!this.commands.isUp) return;
    const nowMs = performance.now();
    const owing = [...this.writers.values()].filter((writer) => writer.isOwing && !writer.isBusy);
    for (const writer of owing.slice(0, SYNCED_AT_ONCE)) void writer.sync();
    for (const reader of this.readers.values())
      if (reader.viewerCount === 0 && nowMs - reader.idleSinceMs > IDLE_MS) this.forget(reader);
    const watched = [...this.readers.values()].filter((reader) => reader.viewerCount > 0 && !reader.isWhole);
    for (const reader of watched) void this.tell(reader.streamId, reader.viewerCount);
    await Promise.all(watched.map((reader) => reader.pull()));
    await this.ends.look(watched.filter((reader) => !reader.isWhole && nowMs - reader.newsAtMs > LOOK_MS / 2));
  }

  /** Redis answers and refuses: it is full, or not what it should be. */
  private refused(error: unknown): void {
    if ((error as Error).name === 'RedisAwayError' || performance.now() - this.refusedAtMs < 60_000) return;
    this.refusedAtMs = performance.now();
    this.deps.logger.warn({ err: error }, 'Redis refuses to keep logs of streams');
  }
}
