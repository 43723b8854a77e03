import { AppError, badInput, forbidden } from '../../errors';
import { decodeTimeCursor, encodeCursor } from '../../lib/page';
import type { Viewer } from '../../domain/principal';
import type { Reconciler } from './reconciler';
import type { ReconciliationStore } from './reconciliation.store';
import type { Difference, OurCall, ReconciliationPage, ReconciliationSummary } from './reconciliation.types';
import { NIGHTLY, ON_DEMAND } from './resolution';
import { Sums } from './sums';
import { checkPage } from '../../domain/page';

export interface ReconciliationDeps {
  /** null: models are asked directly, and nobody else keeps records. */
  reconciler: Pick<Reconciler, 'walk'> | null;
  store: Pick<ReconciliationStore, 'clock'>;
  /** Every night the last three days are compared and corrected. */
  isNightly: boolean;
  /** Comparisons are few at a time: they read from the proxy, which has calls to make. */
  limiter: { run<T>(userId: string, work: () => Promise<T>): Promise<T> };
  /** Milliseconds from the end of a call until its record must be there. Default 60 s. */
  settledForMs?: number;
  /**
   * Of one question: then it answers with what it has, and is asked again from there. Defaults 10,000 calls (or
   * differences) and 8 s.
   */
  limits?: { calls: number; ms: number };
}

interface Comparison {
  differences: Difference[];
  summary: ReconciliationSummary;
}

const DAY_MS = 86_400_000;
const MAX_DAYS = 31;
const LIMITS = { calls: 10_000, ms: 8_000 };
/** Tonight's run begins so long before today. */
const REACH_MS = 2 * DAY_MS;
const SETTLED_FOR_MS = 60_000;
/** Further pages of an answer are read from it for so long. Answers, milliseconds. */
const KEPT = 4;
const KEPT_MS = 60_000;

/** Where our figures and the proxy's differ: for the graph, bounded, and without writing anything. */
export class Reconciliation {
  private readonly kept = new Map<string, { comparison: Comparison; atMs: number }>();

  constructor(private readonly deps: ReconciliationDeps) {}

  /**
   * Differences in the order of time. Analysts and administrators: of their organisation's calls; operators: of all,
   * and what was made past this service.
   * Throws FORBIDDEN (members), BAD_USER_INPUT, NOT_FOUND (there is no proxy), SERVICE_UNAVAILABLE (it does not
   * answer), RATE_LIMITED.
   */
  async compare(
    viewer: Viewer,
    args: { from: Date; to: Date; first: number; after?: string | null },
  ): Promise<ReconciliationPage> {
    if (viewer.role === 'MEMBER') throw forbidden('ANALYST');
    const { reconciler } = this.deps;
    if (!reconciler)
      throw new AppError('NOT_FOUND', {
        public: 'There is no proxy here: models are asked directly, and there are no other records to compare with.',
      });
    const { from, to, first, after } = args;
    checkPage({ first });
    if (!(from < to)) throw badInput('from', 'must be before `to`');
    if (to.getTime() - from.getTime() > MAX_DAYS * DAY_MS)
      throw badInput('to', `must be at most ${MAX_DAYS} days after \`from\``);
    const cursor = after == null ? null : decodeTimeCursor(after);
    if (after != null && !cursor) throw badInput('after', 'is not a cursor of this list');

    const organizationId = viewer.role === 'OPERATOR' ? null : viewer.organizationId;
    const key = JSON.stringify([organizationId, from.getTime(), to.getTime()]);
    const kept = cursor && this.keptFor(key);
    const { differences, summary } =
      kept ?? (await this.deps.limiter.run(viewer.userId, () => this.read(reconciler, organizationId, from, to)));
    if (!kept) this.keep(key, { differences, summary });
    const rest = cursor
      ? differences.filter(({ at, key: id }) => at > cursor[0] || (at === cursor[0] && id > cursor[1]))
      : differences;
    return {
      edges: rest.slice(0, first).map((node) => ({ node, cursor: encodeCursor([node.at, node.key]) })),
      hasNextPage: rest.length > first,
      hasPreviousPage: cursor !== null,
      summary,
    };
  }

  private async read(
    reconciler: Pick<Reconciler, 'walk'>,
    organizationId: string | null,
    from: Date,
    to: Date,
  ): Promise<Comparison> {
    const { now, keptFrom } = await this.deps.store.clock();
    if (keptFrom && from < keptFrom)
      throw badInput('from', `must not be before ${keptFrom.toISOString()}: single calls from before are not kept`);
    const fromMs = from.getTime();
    const toMs = Math.max(fromMs, Math.min(to.getTime(), now.getTime() - (this.deps.settledForMs ?? SETTLED_FOR_MS)));
    const nightlyFromMs = this.deps.isNightly ? Math.floor(now.getTime() / DAY_MS) * DAY_MS - REACH_MS : Infinity;
    const planned = ({ occurredAt }: OurCall): string =>
      Date.parse(occurredAt) >= nightlyFromMs ? NIGHTLY : ON_DEMAND;
    const sums = new Sums();
    const differences: Difference[] = [];
    let upToMs = fromMs;
    const limits = this.deps.limits ?? LIMITS;
    const startedAt = performance.now();
    const isOver = (): boolean => performance.now() - startedAt > limits.ms;
    for await (const step of reconciler.walk({ fromMs, toMs, organizationId, planned, corrector: null, isOver })) {
      sums.add(step);
      differences.push(...step.differences);
      upToMs = step.upToMs;
      if (sums.comparedCalls >= limits.calls || differences.length >= limits.calls || isOver()) break;
    }
    const { comparedCalls, ourCost, proxyCost } = sums;
    return {
      differences,
      summary: { comparedCalls, differences: differences.length, ourCost, proxyCost, comparedUpTo: new Date(upToMs) },
    };
  }

  private keptFor(key: string): Comparison | null {
    const kept = this.kept.get(key);
    return kept && performance.now() - kept.atMs < KEPT_MS ? kept.comparison : null;
  }

  private keep(key: string, comparison: Comparison): void {
    this.kept.delete(key);
    if (comparison.differences.length === 0) return;
    this.kept.set(key, { comparison, atMs: performance.now() });
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(oldest);
    }
  }
}
