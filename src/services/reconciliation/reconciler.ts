import { Decimal } from '../../lib/decimal';
import { kindOfId } from '../../lib/ids';
import { listSpend, type ListedRecord, type SpendList } from '../litellm/spend-list';
import { compareCall, costOf, type Compared } from './compare';
import type { Corrector } from './corrector';
import type { ReconciliationStore, Span } from './reconciliation.store';
import type { Difference, OurCall } from './reconciliation.types';
import { missingHere } from './resolution';

export interface ReconcilerDeps {
  store: Pick<ReconciliationStore, 'calls' | 'known' | 'proxyNamePrefix'>;
  records: SpendList;
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
  /** Called between questions to the proxy with how long the last one took, milliseconds: a walk in no hurry waits there. */
  pace?: (tookMs: number) => Promise<void>;
}

/** What one window of a walk has found. Everything before `upToMs` is compared. */
export interface Step { upToMs: number; comparedCalls: number; differences: Difference[]; corrected: number; notCorrected: number; ourCost: Decimal | null; proxyCost: Decimal | null }

const SETTLED_FOR_MS = 60_000;
/** Calls of one window: what is held in memory at a time. */
const WINDOW_CALLS = 500;
const FIRST_WINDOW_MS = 60_000;
const SHORTEST_WINDOW_MS = 1_000;
const LONGEST_WINDOW_MS = 86_400_000;
/** Records of one window. */
const WINDOW_RECORDS = 2_000;
/** By how much a record may begin before its call (two clocks), or behind it (the proxy works first), to be found in the list. One that is further off is asked for by id. */
const MARGIN_MS = 2_000;
/** A record that is further off than that belongs to no call of a window. */
const FARTHEST_MS = 3_600_000;
/** Questions by id at a time. */
const PARALLEL = 4;
/** To list ten records costs the proxy about as much as to find one by its id. */
const LISTED_PER_CALL = 10;

/** Our calls against the proxy's records, by call id, window by window. */
export class Reconciler {
  constructor(private readonly deps: ReconcilerDeps) {}

  /** Ends behind the last window of the span; whoever has enough stops asking. Rejects with SERVICE_UNAVAILABLE when the proxy does not answer. */
  async *walk(walk: Walk): AsyncGenerator<Step> {
    const prefix = await this.deps.store.proxyNamePrefix();
    let lengthMs = FIRST_WINDOW_MS;
    for (let fromMs = walk.fromMs; fromMs < walk.toMs; ) {
      const span = { fromMs, toMs: Math.min(fromMs + lengthMs, walk.toMs), organizationId: walk.organizationId };
      const isShortest = lengthMs <= SHORTEST_WINDOW_MS;
      const calls = await this.deps.store.calls(span, this.deps.settledForMs ?? SETTLED_FOR_MS, isShortest ? Number.MAX_SAFE_INTEGER - 1 : WINDOW_CALLS);
      const isTooLong = calls.length > WINDOW_CALLS || (walk.organizationId === null && (await this.count(walk, span.fromMs, span.toMs)) > WINDOW_RECORDS);
      if (isTooLong && !isShortest) {
        lengthMs = Math.max(SHORTEST_WINDOW_MS, Math.floor(lengthMs / 4));
        continue;
      }
      yield await this.window(walk, span, calls, prefix);
      fromMs = span.toMs;
      if (calls.length < WINDOW_CALLS / 4) lengthMs = Math.min(lengthMs * 2, LONGEST_WINDOW_MS);
    }
  }

  private async window(walk: Walk, { fromMs, toMs }: Span, calls: OurCall[], prefix: string): Promise<Step> {
    const found = new Map<string, ListedRecord[]>(calls.map(({ id }) => [id, []]));
    const records = calls.length > 0 || walk.organizationId === null ? await this.count(walk, fromMs - MARGIN_MS, toMs + MARGIN_MS) : 0;
    // For the few calls of one organisation on a busy proxy, asking by id is cheaper than the list.
    const isListed = records > 0 && (walk.organizationId === null || records <= calls.length * LISTED_PER_CALL);
    const strangers = isListed ? await this.list(walk, fromMs, toMs, found, prefix) : [];
    const missing = calls.filter(({ id, totalTokens }) => !found.get(id)!.some((record) => record.totalTokens > 0 || totalTokens === 0));
    // A proxy that has forgotten all of this time is not asked for each call.
    if (missing.length > 0 && (records > 0 || (await this.count(walk, fromMs - FARTHEST_MS, toMs + FARTHEST_MS)) > 0)) await this.askFor(missing, found, walk);

    const step: Step = { upToMs: toMs, comparedCalls: calls.length, differences: [], corrected: 0, notCorrected: 0, ourCost: null, proxyCost: null };
    const corrections: { call: OurCall; record: ListedRecord }[] = [];
    for (const call of calls) {
      const compared: Compared = compareCall(call, found.get(call.id)!, walk.planned(call));
      step.differences.push(...compared.differences);
      if (compared.correction) corrections.push({ call, record: compared.correction });
      step.ourCost = plus(step.ourCost, call.cost);
      step.proxyCost = plus(step.proxyCost, compared.proxyCost);
    }
    for (const record of strangers) {
      step.differences.push(differenceOf(record));
      step.proxyCost = plus(step.proxyCost, record.spend);
    }
    step.differences.sort((a, b) => (a.at < b.at || (a.at === b.at && a.key < b.key) ? -1 : 1));
    if (walk.corrector) Object.assign(step, await walk.corrector.correct(corrections));
    return step;
  }

  /** Puts the records of the calls into `found`; gives those that are ours and belong to no call. */
  private async list(walk: Walk, fromMs: number, toMs: number, found: Map<string, ListedRecord[]>, prefix: string): Promise<ListedRecord[]> {
    const strangers: ListedRecord[] = [];
    for await (const records of listSpend({ spendPage: this.page(walk) }, fromMs - MARGIN_MS, toMs + MARGIN_MS)) {
      const unknown: ListedRecord[] = [];
      for (const record of records) {
        const own = found.get(record.callId);
        if (own) own.push(record);
        else if (walk.organizationId === null && record.startedMs >= fromMs && record.startedMs < toMs && isOurs(record, prefix)) unknown.push(record);
      }
      const known = await this.deps.store.known(unknown.map(({ callId }) => callId), fromMs, toMs);
      strangers.push(...unknown.filter(({ callId }) => !known.has(callId)));
    }
    return strangers;
  }

  /** Records that began in a span, to the second; up to 10,000. */
  private async count(walk: Walk, fromMs: number, toMs: number): Promise<number> {
    return (await this.page(walk)(Math.floor(fromMs / 1_000), Math.ceil(toMs / 1_000), 1, 1)).total;
  }

  /** What the list did not have: begun late after retries, asked for twice, written late, or not there. */
  private async askFor(calls: readonly OurCall[], found: Map<string, ListedRecord[]>, walk: Walk): Promise<void> {
    const recordsOf = this.paced(walk, (id: string) => this.deps.records.recordsOf(id));
    let next = 0;
    await Promise.all(
      Array.from({ length: Math.min(PARALLEL, calls.length) }, async () => {
        while (next < calls.length) {
          const { id } = calls[next++]!;
          found.set(id, await recordsOf(id));
        }
      }),
    );
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
const isOurs = ({ keyAlias, teamId }: ListedRecord, prefix: string): boolean => keyAlias?.startsWith(prefix) === true || teamId?.startsWith(prefix) === true;

const plus = (sum: Decimal | null, more: string | null): Decimal | null => (more === null ? sum : (sum ?? Decimal.ZERO).plus(Decimal.parse(more)));

function differenceOf(record: ListedRecord): Difference {
  const at = new Date(record.startedMs).toISOString().replace('Z', '000Z');
  return {
    kind: 'MISSING_HERE', callId: null, at, key: `${record.callId}:MISSING_HERE:${record.requestId}`, proxyRequestId: record.requestId, ourTokens: null, proxyTokens: record.totalTokens, ourCost: null,
    proxyCost: costOf(record), resolution: missingHere(record, kindOfId(record.callId) === 'call'), isReplaced: false,
  };
}
