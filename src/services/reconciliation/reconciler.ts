import { Decimal } from '../../lib/decimal';
import { kindOfId } from '../../lib/ids';
import type { CallBounds } from '../ledger/bound';
import { listSpend, type ListedRecord, type SpendList } from '../upstream/litellm/spend-list';
import { isPaidBy } from '../upstream/litellm/spend-record';
import type { CatalogModel } from '../../domain/model';
import { compareCall, costOf, type Compared } from './compare';
import type { Corrector } from './corrector';
import type { ReconciliationStore, Span } from './reconciliation.store';
import type { Difference, OurCall } from './reconciliation.types';
import { missingHere, othersRecord } from './resolution';
import type { TokenBuckets } from '../../domain/money';

export interface ReconcilerDeps {
  store: Pick<ReconciliationStore, 'calls' | 'ownersOf' | 'proxyNamePrefix'>;
  records: SpendList;
  /** Whether so many tokens can be of one call: what cannot replaces no estimate. */
  plausible(tokens: TokenBuckets, bounds: CallBounds): boolean;
  modelOf(id: string): Pick<CatalogModel, 'contextWindow'> | null;
  /** Milliseconds from the end of a call until its record must be there: they come up to 15 s late. Default 60 s. */
  settledForMs?: number;
}

export interface Walk {
  fromMs: number;
  toMs: number;
  /** null: all, and with them what was made past this service. */
  organizationId: string | null;
  /** What is said of an estimate that can be replaced. */
  planned(call: OurCall): string;
  /** Replaces such estimates; null: nothing is written. */
  corrector: Pick<Corrector, 'correct'> | null;
  /**
   * Called between questions to the proxy with how long the last one took, milliseconds: a walk in no hurry waits
   * there.
   */
  pace?: (tookMs: number) => Promise<void>;
  /**
   * Whether the time is up. Then the walk ends in the middle of a window, in front of the first call that was not asked
   * for.
   */
  isOver?: () => boolean;
}

/** What one window of a walk has found. Everything before `upToMs` is compared. */
export interface Step {
  upToMs: number;
  comparedCalls: number;
  differences: Difference[];
  corrected: number;
  notCorrected: number;
  ourCost: Decimal | null;
  proxyCost: Decimal | null;
}

/** By call id; records of its user's key only. */
type Found = Map<string, { userId: string; records: ListedRecord[] }>;
/** A record that belongs to no call of ours, though it may have the id of one. */
interface Stranger {
  record: ListedRecord;
  isOfCall: boolean;
}

const SETTLED_FOR_MS = 60_000;
/** Calls of one window: what is held in memory at a time. */
const WINDOW_CALLS = 500;
const FIRST_WINDOW_MS = 60_000;
const SHORTEST_WINDOW_MS = 1_000;
const LONGEST_WINDOW_MS = 86_400_000;
/** Records of one window. */
const WINDOW_RECORDS = 2_000;
/**
 * By how much a record may begin before its call (two clocks), or behind it (the proxy works first), to be found in the
 * list. One that is further off is asked for by id.
 */
const MARGIN_MS = 2_000;
/** A record that is further off than that belongs to no call of a window. */
const FARTHEST_MS = 3_600_000;
/** Questions by id at a time. */
const PARALLEL = 4;
/** To list ten records costs the proxy about as much as to find one by its id. */
const LISTED_PER_CALL = 10;

/** Our calls against the proxy's records, by call id and key, window by window. */
export class Reconciler {
  constructor(private readonly deps: ReconcilerDeps) {}

  /**
   * Ends behind the last window of the span; whoever has enough stops asking. Rejects with SERVICE_UNAVAILABLE when the
   * proxy does not answer.
   */
  async *walk(walk: Walk): AsyncGenerator<Step> {
    const prefix = await this.deps.store.proxyNamePrefix();
    let lengthMs = FIRST_WINDOW_MS;
    for (let fromMs = walk.fromMs; fromMs < walk.toMs;) {
      const span = { fromMs, toMs: Math.min(fromMs + lengthMs, walk.toMs), organizationId: walk.organizationId };
      const isShortest = lengthMs <= SHORTEST_WINDOW_MS;
      const calls = await this.deps.store.calls(
        span,
        this.deps.settledForMs ?? SETTLED_FOR_MS,
        isShortest ? Number.MAX_SAFE_INTEGER - 1 : WINDOW_CALLS,
      );
      const isTooLong =
        calls.length > WINDOW_CALLS ||
        (walk.organizationId === null && (await this.count(walk, span.fromMs, span.toMs)) > WINDOW_RECORDS);
      if (isTooLong && !isShortest) {
        lengthMs = Math.max(SHORTEST_WINDOW_MS, Math.floor(lengthMs / 4));
        continue;
      }
      const step = await this.window(walk, span, calls, prefix);
      yield step;
      if (step.upToMs < span.toMs) return;
      fromMs = span.toMs;
      if (calls.length < WINDOW_CALLS / 4) lengthMs = Math.min(lengthMs * 2, LONGEST_WINDOW_MS);
    }
  }

  private async window(walk: Walk, { fromMs, toMs }: Span, all: OurCall[], prefix: string): Promise<Step> {
    const found: Found = new Map(all.map(({ id, userId }) => [id, { userId, records: [] }]));
    const records =
      all.length > 0 || walk.organizationId === null ? await this.count(walk, fromMs - MARGIN_MS, toMs + MARGIN_MS) : 0;
    // For the few calls of one organisation on a busy proxy, asking by id is cheaper than the list.
    const isListed = records > 0 && (walk.organizationId === null || records <= all.length * LISTED_PER_CALL);
    const listed = isListed ? await this.list(walk, fromMs, toMs, found, prefix) : [];
    const missing = all.filter(
      ({ id, totalTokens }) => !found.get(id)!.records.some((record) => record.totalTokens > 0 || totalTokens === 0),
    );
    // A proxy that has forgotten all of this time is not asked for each call.
    const isAsked =
      missing.length > 0 && (records > 0 || (await this.count(walk, fromMs - FARTHEST_MS, toMs + FARTHEST_MS)) > 0);
    const upToMs = isAsked ? Math.min(toMs, await this.askFor(missing, found, walk, { fromMs, prefix })) : toMs;
    const calls = all.filter(({ occurredAt }) => Date.parse(occurredAt) < upToMs);
    const strangers = listed.filter(({ record }) => record.startedMs < upToMs);

    const step: Step = {
      upToMs,
      comparedCalls: calls.length,
      differences: [],
      corrected: 0,
      notCorrected: 0,
      ourCost: null,
      proxyCost: null,
    };
    const corrections: { call: OurCall; record: ListedRecord }[] = [];
    for (const call of calls) {
      const compared: Compared = compareCall(call, found.get(call.id)!.records, {
        planned: walk.planned(call),
        isPlausible: (record) => this.isPlausible(call, record),
      });
      step.differences.push(...compared.differences);
      if (compared.correction) corrections.push({ call, record: compared.correction });
      step.ourCost = plus(step.ourCost, call.cost);
      step.proxyCost = plus(step.proxyCost, compared.proxyCost);
    }
    for (const { record, isOfCall } of strangers) {
      step.differences.push(differenceOf(record, isOfCall));
      step.proxyCost = plus(step.proxyCost, record.spend);
    }
    step.differences.sort((a, b) => (a.at < b.at || (a.at === b.at && a.key < b.key) ? -1 : 1));
    if (walk.corrector) Object.assign(step, await walk.corrector.correct(corrections));
    return step;
  }

  private isPlausible(call: OurCall, record: ListedRecord): boolean {
    const { plausible, modelOf } = this.deps;
    if (!record.tokens) return true;
    const contextWindow =
      (modelOf(record.servedModel ?? call.servedModel) ?? modelOf(call.servedModel))?.contextWindow ?? null;
    // What was asked for is not kept with the row: what was booked stands for it.
    const { output, reasoning } = call.tokens;
    return plausible(record.tokens, {
      promptBound: call.totalTokens - output - reasoning,
      maxTokens: output + reasoning,
      contextWindow,
    });
  }

  /**
   * Puts the records of the calls into `found`; gives those that one of our keys has paid for and that belong to no
   * call, and those with the id of a call that is not theirs.
   */
  private async list(walk: Walk, fromMs: number, toMs: number, found: Found, prefix: string): Promise<Stranger[]> {
    const strangers: Stranger[] = [];
    for await (const records of listSpend({ spendPage: this.page(walk) }, fromMs - MARGIN_MS, toMs + MARGIN_MS)) {
      const unknown: ListedRecord[] = [];
      for (const record of records) {
        const call = found.get(record.callId);
        if (call && isPaidBy(record, { prefix, userId: call.userId })) call.records.push(record);
        else if (
          walk.organizationId === null &&
          record.startedMs >= fromMs &&
          record.startedMs < toMs &&
          mayBeOurs(record, prefix)
        )
          unknown.push(record);
      }
      const owners = await this.deps.store.ownersOf(
        unknown.map(({ callId }) => callId),
        fromMs,
        toMs,
      );
      for (const record of unknown) {
        const userId = owners.get(record.callId);
        if (
          userId === undefined
            ? isOurs(record, prefix)
            : !isPaidBy(record, { prefix, userId }) && record.state !== 'REFUSED'
        )
          strangers.push({ record, isOfCall: userId !== undefined });
      }
    }
    return strangers;
  }

  /** Records that began in a span, to the second; up to 10,000. */
  private async count(walk: Walk, fromMs: number, toMs: number): Promise<number> {
    return (await this.page(walk)(Math.floor(fromMs / 1_000), Math.ceil(toMs / 1_000), 1, 1)).total;
  }

  /**
   * What the list did not have: begun late after retries, asked for twice, written late, or not there. Gives up to when
   * it has come, in milliseconds: at least one behind `fromMs`, however little time there is.
   */
  private async askFor(
    missing: readonly OurCall[],
    found: Found,
    walk: Walk,
    { fromMs, prefix }: { fromMs: number; prefix: string },
  ): Promise<number> {
    const recordsOf = this.paced(walk, (id: string) => this.deps.records.recordsOf(id));
    const calls = [...missing].sort((a, b) => (a.occurredAt < b.occurredAt ? -1 : 1));
    let next = 0;
    let upToMs = Infinity;
    const worker = async (): Promise<void> => {
      while (next < calls.length) {
        const { id, userId, occurredAt } = calls[next]!;
        if (walk.isOver?.() && Date.parse(occurredAt) > fromMs)
          return void (upToMs = Math.min(upToMs, Date.parse(occurredAt)));
        next += 1;
        try {
          found.set(id, {
            userId,
            records: (await recordsOf(id)).filter((record) => isPaidBy(record, { prefix, userId })),
          });
        } catch (error) {
          next = calls.length;
          throw error;
        }
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: Math.min(PARALLEL, calls.length) }, worker));
    // Only when nothing is under way any more: whoever walks may give up its turn.
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return upToMs;
  }

  private page(walk: Walk): SpendList['spendPage'] {
    return this.paced(walk, (...page: Parameters<SpendList['spendPage']>) => this.deps.records.spendPage(...page));
  }

  private paced<A extends unknown[], T>({ pace }: Walk, ask: (...args: A) => Promise<T>): (...args: A) => Promise<T> {
    if (!pace) return ask;
    return async (...args) => {
      const startedAt = performance.now();
      const answer = await ask(...args);
      await pace(performance.now() - startedAt);
      return answer;
    };
  }
}

/** Others may use the same proxy: only what a key or a team of ours has paid for concerns us. */
const isOurs = ({ keyAlias, teamId }: ListedRecord, prefix: string): boolean =>
  keyAlias?.startsWith(prefix) === true || teamId?.startsWith(prefix) === true;

/** Whoever paid: it may have the id of a call of ours. */
const mayBeOurs = (record: ListedRecord, prefix: string): boolean =>
  isOurs(record, prefix) || kindOfId(record.callId) === 'call';

const plus = (sum: Decimal | null, more: string | null): Decimal | null =>
  more === null ? sum : (sum ?? Decimal.ZERO).plus(Decimal.parse(more));

function differenceOf(record: ListedRecord, isOfCall: boolean): Difference {
  const at = new Date(record.startedMs).toISOString().replace('Z', '000Z');
  return {
    kind: 'MISSING_HERE',
    callId: isOfCall ? record.callId : null,
    at,
    key: `${record.callId}:MISSING_HERE:${record.requestId}`,
    proxyRequestId: record.requestId,
    ourTokens: null,
    proxyTokens: record.totalTokens,
    ourCost: null,
    proxyCost: costOf(record),
    resolution: isOfCall ? othersRecord(record) : missingHere(record, kindOfId(record.callId) === 'call'),
    isReplaced: false,
  };
}
