import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../lib/logger';
import type { Corrector } from './corrector';
import type { Reconciler } from './reconciler';
import type { ReconciliationRunStore, Run } from './reconciliation-run.store';
import { NIGHTLY } from './resolution';
import { Sums } from './sums';

export interface NightlyReconciliationDeps {
  reconciler: Pick<Reconciler, 'walk'>;
  corrector: Pick<Corrector, 'correct'>;
  store: ReconciliationRunStore;
  /** From this hour of the day (UTC) on, 0 to 23; one that was missed is made up for. */
  hour: number;
  /** This process. */
  owner: string;
  logger: Logger;
  /** Milliseconds. Default a minute. */
  lookEveryMs?: number;
}

const LOOK_EVERY_MS = 60_000;
/** After a failure, as of a proxy that is away. Milliseconds. */
const AGAIN_AFTER_MS = 5 * 60_000;
const LONGEST_PAUSE_MS = 10_000;

class TakenOver extends Error {}

/**
 * Every night: yesterday and the two days before (UTC) against the proxy, and estimates corrected. Three days, because
 * some records come late. One replica does it;
 * what it leaves undone another one goes on with. The proxy is asked half of the time at most.
 */
export class NightlyReconciliation {
  private timer: NodeJS.Timeout | null = null;
  private running: Promise<void> | null = null;
  private notBefore = 0;
  private readonly stopped = new AbortController();

  constructor(private readonly deps: NightlyReconciliationDeps) {}

  start(): void {
    this.timer = setInterval(() => {
      if (performance.now() >= this.notBefore) void this.look();
    }, this.deps.lookEveryMs ?? LOOK_EVERY_MS).unref();
  }

  /**
   * Ends behind the window that is being compared: what was compared is written down, and the rest is left to others.
   */
  async stop(): Promise<void> {
    this.stopped.abort();
    if (this.timer) clearInterval(this.timer);
    await this.running;
  }

  /** Does today's run if it is time and nobody else does. Never rejects. */
  look(): Promise<void> {
    this.running ??= this.run().finally(() => (this.running = null));
    return this.running;
  }

  private async run(): Promise<void> {
    const { store, owner, hour, logger } = this.deps;
    let run: Run | null = null;
    try {
      if (this.stopped.signal.aborted) return;
      run = await store.claim(owner, hour);
      if (!run || !(await this.compare(run))) return;
      const sums = await store.end(run.runOn, owner);
      if (sums)
        logger.info(
          { from: run.from.toISOString(), to: run.to.toISOString(), ...sums },
          'usage was reconciled with the proxy',
        );
    } catch (error) {
      if (error instanceof TakenOver) return;
      this.notBefore = performance.now() + AGAIN_AFTER_MS;
      logger.warn({ err: error }, 'usage could not be reconciled with the proxy and will be retried in a few minutes');
      if (run) await store.release(run.runOn, owner).catch(() => {});
    }
  }

  /** false: it was stopped, or taken over. */
  private async compare(run: Run): Promise<boolean> {
    const { reconciler, corrector, store, owner } = this.deps;
    const span = { fromMs: run.comparedUpTo.getTime(), toMs: run.to.getTime(), organizationId: null };
    for await (const step of reconciler.walk({
      ...span,
      planned: () => NIGHTLY,
      corrector,
      pace: (tookMs) => this.rest(run, Math.min(tookMs, LONGEST_PAUSE_MS)),
    })) {
      const sums = new Sums();
      sums.add(step);
      if (!(await store.add(run.runOn, owner, step, sums))) return false;
      if (this.stopped.signal.aborted) {
        await store.release(run.runOn, owner);
        return false;
      }
    }
    return true;
  }

  /** A window can take longer than a lease. */
  private async rest({ runOn }: Run, ms: number): Promise<void> {
    if (!(await this.deps.store.renew(runOn, this.deps.owner))) throw new TakenOver();
    await sleep(ms, undefined, { signal: this.stopped.signal, ref: false }).catch(() => {});
  }
}
