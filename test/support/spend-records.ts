import { randomBytes } from 'node:crypto';

/** A record of the proxy, as a test says that it is. What is left out is a whole answer with 10 and 5 tokens. */
export interface StandInRecord {
  /** Ours, or the proxy's own. */
  callId: string;
  requestId?: string;
  /** RFC 3339. */
  startTime: string;
  status?: 'success' | 'failure';
  /** Of `error_information`: 499 where the caller was gone. */
  errorCode?: string;
  promptTokens?: number;
  completionTokens?: number;
  cachedTokens?: number;
  /** false: the proxy has counted by itself. */
  details?: boolean;
  spend?: number;
  cacheReadCost?: number;
  cacheHit?: boolean;
  keyAlias?: string | null;
  teamId?: string;
  modelGroup?: string;
  /** As the provider has told it. */
  serviceTier?: string;
}

/** Bytes of each record that nobody reads: LiteLLM writes the model's whole price table. */
const BALLAST = {
  model_map_information: {
    model_map_key: 'openai/m',
    model_map_value: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`price_${i}`, null])),
  },
};

/** As LiteLLM 1.108.7 writes it. */
export function spendRow(record: StandInRecord): Record<string, unknown> {
  const {
    callId,
    requestId = `chatcmpl-${randomBytes(8).toString('hex')}`,
    status = 'success',
    errorCode,
    promptTokens = 10,
    completionTokens = 5,
    cachedTokens = 0,
    details = true,
    spend = 0.00006,
  } = record;
  const total = promptTokens + completionTokens;
  const hasUsage = status === 'success' || completionTokens > 0;
  return {
    request_id: requestId,
    litellm_call_id: callId,
    call_type: 'acompletion',
    api_key: 'a'.repeat(64),
    team_id: record.teamId ?? '',
    user: '',
    spend,
    total_tokens: total,
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    startTime: new Date(record.startTime).toISOString().replace('Z', '+00:00'),
    model: 'openai/m',
    model_id: 'm-1',
    model_group: record.modelGroup ?? 'm',
    status,
    cache_hit: record.cacheHit ? 'True' : 'None',
    metadata: {
      litellm_call_id: callId,
      user_api_key_alias: record.keyAlias ?? null,
      user_api_key_team_id: record.teamId ?? null,
      attempted_retries: 0,
      attempted_fallbacks: 0,
      usage_object: hasUsage
        ? {
            prompt_tokens: promptTokens,
            completion_tokens: completionTokens,
            total_tokens: total,
            ...(record.serviceTier === undefined ? {} : { service_tier: record.serviceTier }),
            ...(details ? { prompt_tokens_details: { cached_tokens: cachedTokens } } : {}),
          }
        : {},
      cost_breakdown:
        spend > 0
          ? {
              total_cost: spend,
              ...(record.cacheReadCost === undefined ? {} : { cache_read_cost: record.cacheReadCost }),
            }
          : null,
      error_information: errorCode === undefined ? null : { error_code: errorCode },
      ...BALLAST,
    },
  };
}

const secondOf = (text: unknown): number => {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)$/.exec(String(text));
  if (!match) throw new Error(`not a time of the proxy's: ${String(text)}`);
  return Date.parse(`${match[1]}T${match[2]}Z`);
};

/**
 * The answer of `GET /spend/logs/v2`: both ends inclusive to the second, `total` up to 10,000, pages beyond it. null:
 * refused with 422.
 */
export function spendPage(
  rows: readonly Record<string, unknown>[],
  query: Record<string, unknown>,
): Record<string, unknown> | null {
  const [page, size] = [Number(query.page), Number(query.page_size)];
  if (!(size >= 1 && size <= 1_000)) return null;
  const [from, to] = [secondOf(query.start_date), secondOf(query.end_date)];
  const at = (row: Record<string, unknown>): number => Date.parse(String(row.startTime));
  const found = rows
    .filter((row) => at(row) >= from && at(row) <= to)
    .sort((a, b) => (query.sort_order === 'asc' ? at(a) - at(b) : at(b) - at(a)));
  const total = Math.min(found.length, 10_000);
  return {
    data: found.slice((page - 1) * size, page * size),
    total,
    page,
    page_size: size,
    total_pages: Math.ceil(total / size),
    total_is_capped: found.length > 10_000,
  };
}

/** The answer of `GET /spend/logs?request_id=`. */
export const spendRowsOf = (rows: readonly Record<string, unknown>[], id: unknown): Record<string, unknown>[] =>
  rows.filter((row) => row.request_id === id || row.litellm_call_id === id);
