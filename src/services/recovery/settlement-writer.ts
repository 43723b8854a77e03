import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { Journal } from './journal';
import { Settler, type Settled, type SettlementStore } from './settler';
import type { Settlement } from '../../domain/call';
import { inTime, LATE } from '../../lib/timeout';

export interface SettlementWriterDeps {
  store: SettlementStore;
  journal: Journal;
  logger: Logger;
  timing?: Partial<Timing>;
}
/** Milliseconds. */
interface Timing {
  /**
   * How long a caller waits for the database before the journal is asked. A restart of Postgres takes less; one that is
   * silent takes more to be known.
   */
  database: number;
  /** Waits between looks whether the database is back: the first, and the longest. */
  replayFirst: number;
  replayLast: number;
  /** Between two log lines that say what waits. */
  report: number;
}
const TIMING: Timing = { database: 3_000, replayFirst: 1_000, replayLast: 10_000, report: 60_000 };
const RETRY_AFTER_MS = [50, 100, 200, 400, 800, 800];
/** Milliseconds that the last try has. */
const LAST_TRY_MS = 200;
/** Ends that are given to the database together. */
const BATCH = 200;

/**
 * Writes the end of a call where it outlives this process: into the database, else into the journal, from where it is
 * settled when the database is back. What neither takes stays in memory, bounded by the calls that ran at the time, and
 * is tried again and again.
 */
export class SettlementWriter {
  private readonly timing: Timing;
  private readonly writing = new Map<string, Promise<void>>();
  private readonly memory = new Map<string, Settlement>();
  private readonly refused = new Set<string>();
  private readonly settler: Settler;
  private timer: NodeJS.Timeout | null = null;
  private replaying: Promise<void> | null = null;
  private waitMs: number;
  private readonly reportedAt = { warn: -Infinity, error: -Infinity };
  private opened = false;
  private stopped = false;

  constructor(private readonly deps: SettlementWriterDeps) {
    this.timing = { ...TIMING, ...deps.timing };
    this.waitMs = this.timing.replayFirst;
    this.settler = new Settler(deps);
  }

  /** Ends that are nowhere but in this process. While there are any, nothing that costs money should begin. */
  get inMemory(): number {
    return this.memory.size;
  }

  /** Ends that wait in the journal for the database. */
  get inJournal(): number {
    return this.deps.journal.size;
  }

  /** Calls that have ended, and of which the database may not know it yet: nobody else may end them. */
  pendingIds(): Set<string> {
    return new Set([...this.writing.keys(), ...this.memory.keys(), ...this.refused, ...this.deps.journal.ids()]);
  }

  /**
   * Settles what an earlier process left in the journal, if the database answers. To be awaited before recovery begins.
   * Never rejects: a journal that cannot be opened is tried again.
   */
  async start(): Promise<void> {
    try {
      await this.open();
      if (this.waiting > 0) await this.replay();
    } catch (cause) {
      this.deps.logger.error(
        { err: cause },
        'the journal cannot be used: while the database is away too, settlements will be in memory only',
      );
      this.look();
    }
  }

  /**
   * Resolves when the end is in the database or in the journal. Throws SERVICE_UNAVAILABLE when it is in neither; it is
   * not lost then, and tried again.
   */
  async write(end: Settlement): Promise<void> {
    const work = this.writeOrKeep(end);
    this.writing.set(end.id, work);
    try {
      await work;
    } finally {
      this.writing.delete(end.id);
    }
  }

  /** A last try for what waits, in bounded time. Gives how many ends are neither in the database nor in the journal. */
  async stop(): Promise<number> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    await Promise.allSettled(this.writing.values());
    if (this.replaying) await inTime(this.replaying, this.timing.database);
    if (this.waiting > 0) await inTime(this.replay(), this.timing.database);
    await this.saveMemory();
    if (this.memory.size > 0)
      this.deps.logger.error(
        { calls: [...this.memory.keys()] },
        "settlements are lost with this process: neither the database nor the journal accepted them, and recovery will settle these calls from the proxy's records or the checkpoints",
      );
    return this.memory.size;
  }

  private async open(): Promise<void> {
    await this.deps.journal.open();
    this.opened = true;
  }

  private get waiting(): number {
    return this.memory.size + this.deps.journal.size;
  }

  private async writeOrKeep(end: Settlement): Promise<void> {
    const settled = await this.tryDatabase(end);
    if (settled === 'NEW' || settled === 'KNOWN') return;
    try {
      if (settled === 'REFUSED') {
        // It stays in flight until this process ends: nobody here may take it for one that was never asked.
        this.refused.add(end.id);
        return await this.settler.setAside([end]);
      }
      await this.deps.journal.write([end]);
      this.look();
    } catch (cause) {
      this.memory.set(end.id, end);
      this.look();
      this.report(cause);
      throw new AppError('SERVICE_UNAVAILABLE', { internal: `the end of call ${end.id} is in memory only`, cause });
    }
  }

  /** null: the database did not take it in time. A try that is still under way may yet succeed, which is harmless. */
  private async tryDatabase(end: Settlement): Promise<Settled | null> {
    const until = performance.now() + this.timing.database;
    let failure: unknown = null;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const settled = await inTime(this.settler.settle(end, 'OWNER'), until - performance.now());
        if (settled !== LATE) return settled;
      } catch (cause) {
        failure = cause;
      }
      const leftMs = until - performance.now() - LAST_TRY_MS;
      if (leftMs <= 0) break;
      await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, RETRY_AFTER_MS[attempt] ?? Infinity)));
    }
    this.deps.logger.warn(
      { callId: end.id, err: failure ?? new Error(`no answer within ${this.timing.database} ms`) },
      'a settlement could not be written to the database and goes to the journal',
    );
    return null;
  }

  /** Looks whether the database is back, a little later. */
  private look(): void {
    if (this.stopped || this.timer || this.replaying) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.replay();
    }, this.waitMs).unref();
  }

  /** Never rejects. */
  private replay(): Promise<void> {
    this.replaying ??= this.replayOnce()
      .then(
        (settled) => {
          this.waitMs = this.timing.replayFirst;
          if (settled > 0)
            this.deps.logger.info({ calls: settled }, 'waiting settlements were written to the database');
        },
        (cause: unknown) => {
          this.waitMs = Math.min(this.waitMs * 2, this.timing.replayLast);
          this.report(cause);
        },
      )
      .finally(() => {
        this.replaying = null;
        if (this.waiting > 0 || !this.opened) this.look();
      });
    return this.replaying;
  }

  private async replayOnce(): Promise<number> {
    const ends = [...this.memory.values()];
    try {
      for (let from = 0; from < ends.length; from += BATCH) {
        const batch = ends.slice(from, from + BATCH);
        await this.settler.settleAll(batch);
        for (const { id } of batch) this.memory.delete(id);
      }
    } catch (cause) {
      await this.saveMemory();
      throw cause;
    }
    if (!this.opened) await this.open();
    return ends.length + (await this.deps.journal.replay((batch) => this.settler.settleAll(batch)));
  }

  private async saveMemory(): Promise<void> {
    await Promise.allSettled(
      [...this.memory.values()].map(async (end) => {
        await this.deps.journal.write([end]);
        this.memory.delete(end.id);
      }),
    );
  }

  private report(cause?: unknown): void {
    if (this.waiting === 0) return;
    const level = this.memory.size > 0 ? 'error' : 'warn';
    if (performance.now() - this.reportedAt[level] < this.timing.report) return;
    this.reportedAt[level] = performance.now();
    const fields = { inMemory: this.memory.size, inJournal: this.deps.journal.size, err: cause };
    this.deps.logger[level](
      fields,
      level === 'error'
        ? 'settlements are in memory only: neither the database nor the journal accepts them'
        : 'settlements wait in the journal for the database',
    );
  }
}
