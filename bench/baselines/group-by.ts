import type { Db } from '../../src/database/pool';

/** What a question asks of the raw rows. */
export interface RawQuestion {
  /** null: of all. */
  organizationId: string | null;
  from: Date;
  to: Date | null;
  groupBy: readonly string[];
  interval: 'DAY' | 'MONTH' | null;
  timeZone: string;
  statuses: readonly string[] | null;
  limit: number;
  /** The question is about latency: only then does anybody sort the rows for a percentile. */
  latency: boolean;
}

const COLUMNS: Record<string, string> = {
  MODEL: 'model',
  PROVIDER: 'provider',
  USER: 'user_id',
  PROJECT: 'project_id',
  SCENARIO: 'scenario',
  ORGANIZATION: 'organization_id',
};

function partsOf(question: RawQuestion): { keys: string; grouping: string; where: string; values: unknown[] } {
  const values: unknown[] = [];
  const add = (value: unknown): string => `$${values.push(value)}`;
  const where = [`u.occurred_at >= ${add(question.from)}`];
  if (question.organizationId) where.push(`u.organization_id = ${add(question.organizationId)}`);
  if (question.to) where.push(`occurred_at < ${add(question.to)}`);
  if (question.statuses) where.push(`status = ANY (${add(question.statuses)})`);
  const zone = question.interval ? add(question.timeZone) : '';
  const at = question.interval
    ? [`date_trunc('${question.interval.toLowerCase()}', occurred_at AT TIME ZONE ${zone}) AT TIME ZONE ${zone} AS at`]
    : [];
  const keys = [...at, ...question.groupBy.map((dimension) => COLUMNS[dimension]!)];
  return {
    keys: keys.join(', '),
    grouping: keys.length > 0 ? `GROUP BY ${keys.map((_, i) => i + 1).join(', ')}` : '',
    where: where.join(' AND '),
    values,
  };
}

/**
 * What a team writes first: GROUP BY over the table of the calls, which has the obvious indexes (by organisation and
 * time, by user and time, a partition for each month). It knows the cost that was booked, and nothing of corrected
 * prices: with those it would be slower still.
 */
export async function groupByRaw(db: Db, question: RawQuestion): Promise<unknown[]> {
  const { keys, grouping, where, values } = partsOf(question);
  const figures = [
    'count(*) AS calls',
    'sum(prompt_tokens) AS prompt_tokens',
    'sum(completion_tokens) AS completion_tokens',
    'sum(cost) AS cost',
  ];
  if (question.latency) figures.push('percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95');
  return db.query(
    `SELECT ${[...(keys ? [keys] : []), ...figures].join(', ')} FROM llm_usage AS u WHERE ${where} ${grouping} ORDER BY sum(cost) DESC NULLS LAST LIMIT ${question.limit}`,
    values,
  );
}

export interface CheckRow {
  at: Date | null;
  model?: string;
  provider?: string;
  user_id?: string;
  project_id?: string | null;
  scenario?: string;
  organization_id?: string;
  calls: string;
  failed: string;
  prompt: string;
  cache_read: string;
  cache_write: string;
  completion: string;
  reasoning: string;
  cost: string | null;
  priced: string;
  unpriced: string;
  latency_count: string;
  latency_ms: string | null;
  p50: number | null;
  p95: number | null;
  first_token_count: string;
  first_token_ms: string | null;
  first_token_p95: number | null;
}

/** Of the row `u`, by the rates `r`; null: no price is known. */
const PRICE = `CASE WHEN p.number IS NULL THEN NULL WHEN usage_source = 'NONE' THEN 0 ELSE uncached_prompt_tokens * r.input + cache_read_tokens * r.cache_read
  + (cache_write_tokens - cache_write_one_hour_tokens) * r.cache_write + cache_write_one_hour_tokens * r.cache_write_one_hour + output_tokens * r.output
  + reasoning_tokens * coalesce(r.reasoning, r.output) + r.per_request END`;
/**
 * The record in force for the row `u` by the knowledge of a time, as `p`, and its rates for a prompt of that length.
 * There is one source here and nobody's own prices, so that the highest number decides.
 */
const inForce = (
  known: string,
): string => `LEFT JOIN LATERAL (SELECT number FROM model_prices AS m WHERE m.model = u.served_model AND m.effective_from <= u.occurred_at
    AND coalesce(m.effective_to, 'infinity') > u.occurred_at AND m.recorded_at <= ${known} ORDER BY number DESC LIMIT 1) AS p ON true
  LEFT JOIN price_rates AS r ON r.number = p.number AND u.prompt_tokens > r.above_prompt_tokens AND u.prompt_tokens <= r.up_to_prompt_tokens`;

/**
 * The truth that answers are held against, made of the rows and the price book alone, without any of the product's
 * views: tokens times the rates of the record that is in force for the call, by the book as it stood at a time (null:
 * now). Not timed.
 */
export async function recompute(db: Db, question: RawQuestion, asOf: Date | null): Promise<CheckRow[]> {
  const { keys, grouping, where, values } = partsOf(question);
  const known = asOf ? `$${values.push(asOf)}::timestamptz` : `'infinity'::timestamptz`;
  return db.query<CheckRow>(
    `SELECT ${keys ? `${keys},` : ''} count(*) AS calls, count(*) FILTER (WHERE status IN ('FAILED', 'LOST')) AS failed, sum(prompt_tokens) AS prompt, sum(cache_read_tokens) AS cache_read,
       sum(cache_write_tokens) AS cache_write, sum(completion_tokens) AS completion, sum(reasoning_tokens) AS reasoning, sum(price) AS cost, count(price) AS priced,
       count(*) FILTER (WHERE price IS NULL AND total_tokens > 0) AS unpriced, count(latency_ms) AS latency_count, sum(latency_ms) AS latency_ms,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_ms) AS p50, percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95,
       count(time_to_first_token_ms) AS first_token_count, sum(time_to_first_token_ms) AS first_token_ms, percentile_disc(0.95) WITHIN GROUP (ORDER BY time_to_first_token_ms) AS first_token_p95
     FROM (
       SELECT u.*, ${PRICE} AS price
       FROM llm_usage AS u
       ${inForce(known)}
       WHERE ${where} AND settled_at <= ${known}) AS calls ${grouping}`,
    values,
  );
}

/** The newest calls of a user, as they were booked. */
export const newestCalls = (db: Db, organizationId: string, userId: string, first: number): Promise<{ id: string }[]> =>
  db.query('SELECT * FROM llm_usage WHERE organization_id = $1 AND user_id = $2 ORDER BY occurred_at DESC LIMIT $3', [
    organizationId,
    userId,
    first,
  ]);

/** Their ids and what they cost by the book as it is now, recomputed. */
export const recomputeNewest = (
  db: Db,
  organizationId: string,
  userId: string,
  first: number,
): Promise<{ id: string; cost: string | null }[]> =>
  db.query(
    `SELECT u.id, ${PRICE} AS cost FROM (SELECT * FROM llm_usage WHERE organization_id = $1 AND user_id = $2 ORDER BY occurred_at DESC, id DESC LIMIT $3) AS u ${inForce("'infinity'")}
     ORDER BY u.occurred_at DESC, u.id DESC`,
    [organizationId, userId, first],
  );
