import { Decimal } from '../../lib/decimal';
import type { ListedRecord } from '../upstream/litellm/spend-list';
import { namedFirst } from '../upstream/litellm/spend-record';
import { readUsage } from '../upstream/litellm/usage-shape';
import { costResolution, implausibleRecord, missingAtProxy, secondRecord, tokensResolution } from './resolution';
import type { Difference, DifferenceKind, OurCall } from './reconciliation.types';
import { sameCost } from './same-cost';
import type { TokenBuckets } from '../../domain/money';

export interface Compared {
  differences: Difference[];
  /** What the call is to be corrected to. */
  correction: ListedRecord | null;
  /** What the proxy's records of the call cost together. */
  proxyCost: string | null;
}

export interface CompareOptions {
  /** What becomes of an estimate that can be replaced. */
  planned: string;
  /** Whether a record's figures can be of the call. */
  isPlausible(record: ListedRecord): boolean;
}

/** One call against all records that the proxy has of it, paid by its user's key. */
export function compareCall(
  call: OurCall,
  records: readonly ListedRecord[],
  { planned, isPlausible }: CompareOptions,
): Compared {
  const agreeing = (record: ListedRecord): number => Number(stands(call) && sameUsage(call, record));
  // One that was asked for twice has two, the first one a refusal: the one in which most was used is the call's, unless
  // another one is known to be.
  const [best, ...others] = [...records].sort(
    (a, b) =>
      agreeing(b) - agreeing(a) ||
      namedFirst(a, b) ||
      b.totalTokens - a.totalTokens ||
      Decimal.parse(b.spend).compare(Decimal.parse(a.spend)),
  );
  const differences: Difference[] = [];
  const add = (
    kind: DifferenceKind,
    record: ListedRecord | null,
    resolution: string,
    ours: { totalTokens: number; cost: string | null } | null = call,
    isReplaced = false,
  ): void =>
    void differences.push({
      kind,
      callId: call.id,
      at: call.occurredAt,
      key: `${call.id}:${kind}:${isReplaced ? 'replaced' : (record?.requestId ?? '')}`,
      proxyRequestId: record?.requestId ?? null,
      ourTokens: ours?.totalTokens ?? null,
      proxyTokens: record?.totalTokens ?? null,
      ourCost: ours?.cost ?? null,
      proxyCost: record && costOf(record),
      resolution,
      isReplaced,
    });
  if (!best) {
    add('MISSING_AT_PROXY', null, missingAtProxy(call));
    return { differences, correction: null, proxyCost: null };
  }
  let correction: ListedRecord | null = null;
  if (call.corrected)
    add(
      'TOKENS_DIFFER',
      best,
      `Replaced by a correction on ${call.corrected.at.toISOString()}: ${call.totalTokens} tokens.`,
      call.corrected,
      true,
    );
  if (!sameUsage(call, best)) {
    const isWanted = replaces(call, best);
    if (isWanted && (best.fromCache || isPlausible(best))) correction = best;
    add(
      'TOKENS_DIFFER',
      best,
      correction
        ? planned
        : isWanted
          ? implausibleRecord(call, best)
          : tokensResolution(call, best, wasRefusedHere(call, best)),
    );
  } else if (best.state !== 'REFUSED' && !agrees(call.cost, best.spend)) {
    add('COST_DIFFERS', best, costResolution(call, best));
  }
  const charged = others.filter(({ spend }) => spend !== '0');
  for (const record of charged) add('MISSING_HERE', record, secondRecord(call), null);
  const proxyCost = [best, ...charged].reduce((sum, { spend }) => sum.plus(Decimal.parse(spend)), Decimal.ZERO);
  return { differences, correction, proxyCost: proxyCost.toString() };
}

/** null: the proxy has no price. It writes zero for that, which a call with tokens does not cost. */
export function costOf(record: ListedRecord): string | null {
  const isUnpriced = record.spend === '0' && record.totalTokens > 0 && record.state !== 'REFUSED' && !record.fromCache;
  return isUnpriced ? null : record.spend;
}

/** Where no price is known on either side, nothing differs. */
const agrees = (ours: string | null, spend: string): boolean => (ours === null ? spend === '0' : sameCost(ours, spend));

const sameTokens = (a: TokenBuckets, b: TokenBuckets): boolean =>
  a.uncachedPrompt === b.uncachedPrompt &&
  a.cacheRead === b.cacheRead &&
  a.cacheWrite === b.cacheWrite &&
  a.cacheWriteOneHour === b.cacheWriteOneHour &&
  a.output === b.output &&
  a.reasoning === b.reasoning;

/** Of a call that was refused the proxy counts the prompt, and charges nothing. */
function sameUsage(call: OurCall, record: ListedRecord): boolean {
  // Of an answer from its cache the proxy repeats what the first one used, and charges nothing.
  if (record.fromCache && call.usageSource === 'CACHE') return true;
  if (record.state === 'REFUSED') return call.totalTokens === 0;
  return record.tokens ? sameTokens(call.tokens, record.tokens) : call.totalTokens === 0;
}

/** What the provider has told us, or the proxy, in its answer or before: no estimate any more. */
const stands = ({ usageSource }: OurCall): boolean => ['PROVIDER', 'RECONCILED', 'CACHE'].includes(usageSource);

/**
 * Whether the record is better than what is booked, which only an estimate, or nothing, can be. Of a call that nobody
 * saw end everything that the proxy knows is better, as recovery has it; else only what the provider has told the
 * proxy.
 */
function replaces(call: OurCall, record: ListedRecord): boolean {
  if (stands(call)) return false;
  if (record.fromCache) return true;
  if (!record.tokens || wasRefusedHere(call, record)) return false;
  if (call.status === 'LOST') return true;
  return record.state === 'REPORTED' && (record.hasDetails || !call.streamed);
}

/** The same figures were told to us, too, and were not plausible for this call. */
function wasRefusedHere(call: OurCall, record: ListedRecord): boolean {
  const seen = call.rawUsage === null || call.corrected ? null : readUsage(call.rawUsage, 'LITELLM', false);
  return (
    call.usageSource === 'ESTIMATED' &&
    seen !== null &&
    record.tokens !== null &&
    sameTokens(seen.tokens, record.tokens)
  );
}
