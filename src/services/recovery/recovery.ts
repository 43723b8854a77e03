import { LaterRecords } from './later-records';
import { LostCalls, type LostCallsDeps, type LostCounts, type LostTiming } from './lost-calls';
import type { RecoveryStore } from './recovery.store';
import type { Settlement } from '../../domain/call';

export interface RecoveryDeps extends LostCallsDeps {
  store: RecoveryStore;
  calls: {
    settle(ends: readonly Settlement[]): Promise<string[]>;
    correct(ends: readonly Settlement[], reason: string): Promise<string[]>;
  };
  /** Tells of deaths, so that nobody waits for the next look. */
  liveness: { onDeath(listener: () => void): void };
  /** Milliseconds. */
  lookEveryMs?: number;
  /** How long what lost streams have left stays for their viewers. Milliseconds. */
  keptMs: number;
  timing?: Partial<LostTiming>;
}

const TIMING: LostTiming = {
  recordDelayMs: 20_000,
  directDelayMs: 5_000,
  overdueMs: 60_000,
  withoutCostMs: 30_000,
  giveUpMs: 24 * 3_600_000,
  nobodysForMs: 30_000,
};
const SOONEST_MS = 1_000;
const CLEANED_AT_ONCE = 1_000;

type Counts = LostCounts & { corrected: number; checkpointsRemoved: number; keysRemoved: number };
const noCounts = (): Counts => ({
  reconciled: 0,
  estimated: 0,
  withoutCost: 0,
  neverAsked: 0,
  corrected: 0,
  waiting: 0,
  unsettled: 0,
  proxyFailures: 0,
  checkpointsRemoved: 0,
  keysRemoved: 0,
});

/**
 * Ends what nobody else will end, every minute and when an owner was declared dead: calls of the dead, calls long past
 * their deadline, calls of ours that nobody knows. Looks again for records that came late, and removes what is left
 * over. Any number of processes may do it at once.
 */
export class Recovery {
  private readonly lost: LostCalls;
  private readonly later: LaterRecords | null;
  private readonly lookEveryMs: number;
  private timer: NodeJS.Timeout | null = null;
  private looking: Promise<void> | null = null;
  private again = false;
  private state: 'NEW' | 'RUNNING' | 'STOPPED' = 'NEW';

  constructor(private readonly deps: RecoveryDeps) {
    const { store, records, prices, modelOf, plausible, calls } = deps;
    this.lookEveryMs = deps.lookEveryMs ?? 60_000;
    this.lost = new LostCalls(deps, { ...TIMING, ...deps.timing });
    this.later =
      records &&
      new LaterRecords({
        store,
        records,
        correct: (ends, reason) => calls.correct(ends, reason),
        prices,
        modelOf,
        plausible,
      });
    deps.liveness.onDeath(() => this.lookIn(0));
  }

  /** Looks at once, and from then on. The journal has to be replayed by then: what it knows is better. */
  start(): void {
    this.state = 'RUNNING';
    this.lookIn(0);
  }

  async stop(): Promise<void> {
    this.state = 'STOPPED';
    if (this.timer) clearTimeout(this.timer);
    await this.looking;
  }

  /** Never throws. One that is asked for while another is under way follows it. */
  look(): Promise<void> {
    if (this.looking) this.again = true;
    this.looking ??= this.lookOnce()
      .then((nextMs) => this.lookIn(this.again ? 0 : nextMs))
      .finally(() => {
        this.looking = null;
        this.again = false;
      });
    return this.looking;
  }

  private lookIn(ms: number): void {
    if (this.state !== 'RUNNING') return;
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), ms).unref();
  }

  /** Gives in how many milliseconds to look again. */
  private async lookOnce(): Promise<number> {
    const counts = noCounts();
    const isStopped = (): boolean => this.state === 'STOPPED';
    let nextMs = this.lookEveryMs;
    const step = async (work: () => Promise<unknown>): Promise<void> => {
      try {
        if (!isStopped()) await work();
      } catch (error) {
        this.deps.logger.warn({ err: error }, 'a step of recovery failed, and is tried again with the next look');
      }
    };
    await step(async () => (nextMs = Math.min(nextMs, await this.lost.endLost(counts, isStopped))));
    await step(() => this.lost.endNobodys(counts));
    await step(async () => (counts.corrected += (await this.later?.look()) ?? 0));
    const remove = (batch: () => Promise<number>): Promise<number> => untilDone(batch, isStopped);
    await step(
      async () =>
        (counts.checkpointsRemoved += await remove(() =>
          this.deps.store.removeOrphans(this.deps.keptMs, CLEANED_AT_ONCE),
        )),
    );
    await step(
      async () => (counts.keysRemoved += await remove(() => this.deps.store.removeExpiredKeys(CLEANED_AT_ONCE))),
    );
    this.report(counts);
    return Math.max(nextMs, SOONEST_MS);
  }

  private report(counts: Counts): void {
    if (Object.values(counts).every((n) => n === 0)) return;
    const ended =
      counts.reconciled +
      counts.estimated +
      counts.withoutCost +
      counts.neverAsked +
      counts.corrected +
      counts.unsettled;
    this.deps.logger[ended > 0 ? 'warn' : 'info'](counts, 'recovery has settled or cleaned up calls');
  }
}

async function untilDone(batch: () => Promise<number>, isStopped: () => boolean): Promise<number> {
  for (let total = 0; ;) {
    const done = await batch();
    total += done;
    if (done < CLEANED_AT_ONCE || isStopped()) return total;
  }
}
