import { canonicalDecimal } from '../../../lib/decimal';
import { proxyCost } from './headers';
import { part, readPayer, readRow, text, type RecordPayer, type Shape, type SpendRecord } from './spend-record';

/**
 * What a record's figures are worth.
 * - REPORTED: the call came to its end; of a stream only where `hasDetails` are the tokens the provider's, else they
 * are the proxy's own count.
 * - CUT_OFF: the caller was gone; BROKE_OFF: it failed in the middle. Both are the proxy's own count.
 * - REFUSED: it failed before anything was charged; that the proxy has counted its prompt means nothing.
 */
export type RecordState = 'REPORTED' | 'CUT_OFF' | 'BROKE_OFF' | 'REFUSED';

/** A record of the proxy, as a list gives it. */
export interface ListedRecord extends SpendRecord, RecordPayer {
  /** The proxy's own id of it. */
  requestId: string;
  /** What was sent as `x-litellm-call-id`, else the proxy's own. */
  callId: string;
  /**
   * When the attempt began that answered, by the proxy's clock: after retries, seconds behind the call. Milliseconds.
   */
  startedMs: number;
  state: RecordState;
  hasDetails: boolean;
  totalTokens: number;
  /** Dollars, decimal text; '0' where the proxy has no price. */
  spend: string;
  /** Part of `spend`, where the record tells: what cached tokens cost. */
  cacheReadCost: string | null;
  cacheWriteCost: string | null;
}

/** `length` counts those too that could not be read; `total` is told up to 10,000 only. */
export interface SpendPage {
  records: ListedRecord[];
  length: number;
  total: number;
}

/**
 * The proxy's records in pages, as an administrator sees them. Both throw SERVICE_UNAVAILABLE when it does not answer.
 */
export interface SpendList {
  /**
   * Records that began between two seconds (since 1970), both inclusive, which excludes what began within the last one;
   * oldest first. `page` from 1, `size` up to 1,000: a record is about 10 kB.
   */
  spendPage(fromSecond: number, toSecond: number, page: number, size: number): Promise<SpendPage>;
  /** All records of one call, by our id. */
  recordsOf(callId: string): Promise<ListedRecord[]>;
}

/** A page is read in a quarter of a second and holds up nobody's call for longer. */
const PAGE = 200;

/**
 * Every record that began in [fromMs, toMs), page by page, oldest first. The proxy's filter knows whole seconds and its
 * pages shift when a record is written late, so that each question begins at the second at which the last page ended.
 * What is written behind that second meanwhile is not seen.
 */
export async function* listSpend(
  source: Pick<SpendList, 'spendPage'>,
  fromMs: number,
  toMs: number,
  size = PAGE,
): AsyncGenerator<ListedRecord[]> {
  const end = Math.ceil(toMs / 1_000);
  let second = Math.floor(fromMs / 1_000);
  // Of the second that is asked for again.
  let seen = new Set<string>();
  const fresh = (records: ListedRecord[]): ListedRecord[] => {
    const found = records.filter(
      ({ requestId, startedMs }) => startedMs >= fromMs && startedMs < toMs && !seen.has(requestId),
    );
    for (const { requestId } of found) seen.add(requestId);
    return found;
  };
  while (second <= end) {
    const { records, length } = await source.spendPage(second, end, 1, size);
    yield fresh(records);
    if (length < size) return;
    const last = Math.floor((records.at(-1)?.startedMs ?? 0) / 1_000);
    if (last > second) {
      second = last;
      seen = new Set(records.filter(({ startedMs }) => startedMs >= last * 1_000).map(({ requestId }) => requestId));
      continue;
    }
    // More in one second than a page holds.
    for (let page = 1; ; page += 1) {
      const more = await source.spendPage(second, second + 1, page, size);
      yield fresh(more.records);
      if (more.length < size) break;
    }
    second += 1;
  }
}

/** Rows of an answer; what is no record is left out. */
export const readListedRecords = (rows: readonly unknown[]): ListedRecord[] =>
  rows.map((row) => readListed(part(row))).filter((record) => record !== null);

function readListed(row: Shape): ListedRecord | null {
  const metadata = part(row.metadata);
  const requestId = text(row.request_id);
  const startedMs = timeOf(row.startTime);
  if (requestId === null || startedMs === null) return null;
  const record = readRow(row);
  const breakdown = part(metadata.cost_breakdown);
  const usage = part(metadata.usage_object);
  const spend = plain(record.cost) ?? '0';
  return {
    ...record,
    requestId,
    callId: text(row.litellm_call_id) ?? text(metadata.litellm_call_id) ?? requestId,
    startedMs,
    ...readPayer(row),
    state: stateOf(row, part(metadata.error_information), spend),
    hasDetails: usage.prompt_tokens_details !== undefined && usage.prompt_tokens_details !== null,
    totalTokens: record.tokens
      ? Object.entries(record.tokens).reduce((sum, [name, n]) => (name === 'cacheWriteOneHour' ? sum : sum + n), 0)
      : 0,
    spend,
    cacheReadCost: plain(proxyCost(breakdown.cache_read_cost)),
    cacheWriteCost: plain(proxyCost(breakdown.cache_creation_cost)),
  };
}

/** Floats come with exponents. */
const plain = (cost: string | null): string | null => (cost === null ? null : canonicalDecimal(cost));

function stateOf(row: Shape, error: Shape, spend: string): RecordState {
  if (String(error.error_code) === '499') return 'CUT_OFF';
  if (row.status !== 'failure') return 'REPORTED';
  return spend === '0' && !row.completion_tokens ? 'REFUSED' : 'BROKE_OFF';
}

/** Milliseconds. A time without a zone is UTC, as the proxy keeps it. */
function timeOf(value: unknown): number | null {
  const written = text(value);
  if (written === null) return null;
  const ms = Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(written) ? written : `${written}Z`);
  return Number.isFinite(ms) ? ms : null;
}
