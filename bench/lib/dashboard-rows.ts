import { HOURS, models, MODELS_PER_ORGANIZATION, SEED } from './dashboard-shape';

/** Usage rows of one transaction of the generated past, as if so many calls had come to their end together. */
export const ROWS_PER_BATCH = 500;

const numbers = (values: readonly number[]): string => `'{${values.join(',')}}'::float8[]`;
/** Shares so far, for weights: what a number in [0, 1) falls into. */
const shares = (weights: readonly number[]): string => {
  const sum = weights.reduce((a, b) => a + b, 0);
  let so = 0;
  return numbers(
    weights.map((weight) => {
      const from = so / sum;
      so += weight;
      return from;
    }),
  );
};
const MODEL_SHARES = shares(Array.from({ length: MODELS_PER_ORGANIZATION }, (_, i) => 1 / (i + 1)));
const SCENARIOS = {
  names: ['DEFAULT', 'BACKGROUND', 'THINK', 'REVIEW', 'LONG_CONTEXT', 'PLAN'],
  weights: [70, 10, 8, 5, 4, 3],
};
const STATUSES = { names: ['COMPLETED', 'STOPPED', 'FAILED', 'LOST'], weights: [95.5, 2, 2, 0.5] };
const AGENTS = ['claude-code', 'support-bot', 'summariser', 'indexer', 'reviewer', 'sales-mail'];

/** In [0, 1), from 64 bits. */
const whole = (bits: string): string => `((${bits} >> 11)::float8 * 1.1102230246251565e-16 + 0.5)`;
/** In [0, 1), from the n-th 16 of 64 bits. */
const piece = (bits: string, n: number): string => `(((${bits} >> ${16 * n}) & 65535)::float8 / 65536)`;
/** Two numbers in [0, 1) make a normal one. */
const normal = (u: string, v: string): string => `(sqrt(-2 * ln(1 - ${u})) * cos(6.283185307179586 * ${v}))`;

/**
 * The calls of one day. $1: its start, $2: how many, $3: the number of the first, $4: its share of a whole day, $5: the
 * number of its first batch.
 * Each level of subqueries ends in OFFSET 0, or Postgres would compute what is drawn below again wherever it is used.
 */
export const INSERT_DAY = `
  INSERT INTO llm_usage (organization_id, occurred_at, id, user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model, served_model, provider, deployment, upstream,
    attempts, status, error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, raw_usage,
    price_number, cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms, settled_at, batch_id, book_number,
    budget_ids, budget_dates, door, operation)
  SELECT organization_id, occurred_at, 'call_' || lpad(to_hex((extract(epoch FROM occurred_at) * 1000)::bigint), 11, '0') || left(hash, 15), user_id, token_id, project_id,
    CASE WHEN in_conversation THEN 'conv_' || left(md5(user_id || day_number / 3), 26) END, agent, scenario, hash, streamed, model, served_model, provider,
    CASE WHEN upstream = 'LITELLM' THEN 'deployment-' || left(md5(served_model), 8) END, upstream, 1, status, CASE status WHEN 'FAILED' THEN 'UPSTREAM_ERROR' WHEN 'LOST' THEN 'CALL_LOST' END,
    CASE WHEN status = 'COMPLETED' THEN 'STOP' END, uncached, cache_read, cache_write, one_hour, output, reasoning, usage_source,
    CASE WHEN usage_source = 'PROVIDER' THEN ('{"prompt_tokens":' || uncached + cache_read + cache_write || ',"completion_tokens":' || output + reasoning || ',"total_tokens":' || uncached + cache_read + cache_write + output + reasoning
      || ',"prompt_tokens_details":{"cached_tokens":' || cache_read || '},"completion_tokens_details":{"reasoning_tokens":' || reasoning || '}}')::jsonb END,
    price_number, c_input + c_read + c_write + c_output + c_reasoning + c_request, c_input, c_read, c_write, c_output, c_reasoning, c_request,
    CASE WHEN upstream = 'LITELLM' THEN round((c_input + c_read + c_write + c_output + c_reasoning + c_request), 9) END, latency, first_token, settled_at, batch, books[width_bucket(settled_at, recorded)],
    ARRAY[budget_id], ARRAY[date_trunc('month', occurred_at)::date], 'GRAPHQL', 'CHAT'
  FROM (
    SELECT t.*, p.number AS price_number, z.free * t.uncached * r.input AS c_input, z.free * t.cache_read * r.cache_read AS c_read,
      z.free * ((t.cache_write - t.one_hour) * r.cache_write + t.one_hour * r.cache_write_one_hour) AS c_write,
      z.free * (t.output + CASE WHEN r.reasoning IS NULL THEN t.reasoning ELSE 0 END) * r.output AS c_output,
      coalesce(z.free * t.reasoning * r.reasoning, 0 * r.input) AS c_reasoning, z.free * r.per_request AS c_request
    FROM (
      SELECT s.*, s.occurred_at + make_interval(secs => s.latency / 1000.0 + 0.02) + CASE WHEN s.late THEN interval '2 hours' ELSE interval '0' END AS settled_at
      FROM (
        SELECT q.*, CASE WHEN q.used THEN q.prompt - q.cache_read - q.cache_write ELSE 0 END AS uncached,
          greatest(120, exp(6.2 + 0.45 * q.normal_c) + (q.output + q.reasoning) * q.pace)::integer AS latency,
          CASE WHEN q.streamed AND q.used THEN least(greatest(120, exp(6.2 + 0.45 * q.normal_c) + (q.output + q.reasoning) * q.pace), greatest(60, exp(5.9 + 0.5 * q.normal_d)))::integer END AS first_token,
          CASE WHEN NOT q.used THEN 'NONE' WHEN q.status IN ('LOST', 'STOPPED') THEN 'ESTIMATED' ELSE 'PROVIDER' END AS usage_source
        FROM (
          SELECT d.*, CASE WHEN d.used AND d.u_cache < 0.4 THEN (d.prompt * 0.7)::integer ELSE 0 END AS cache_read,
            CASE WHEN d.used AND d.u_cache > 0.92 THEN (d.prompt * 0.2)::integer ELSE 0 END AS cache_write,
            CASE WHEN d.used AND d.u_cache > 0.98 THEN (d.prompt * 0.1)::integer ELSE 0 END AS one_hour,
            CASE WHEN d.used THEN least(32000, greatest(1, exp(5.5 + 1.0 * d.normal_b)))::integer ELSE 0 END AS output,
            CASE WHEN d.used AND d.reasons THEN least(64000, exp(5.0 + 1.1 * d.normal_d))::integer ELSE 0 END AS reasoning
          FROM (
            SELECT b.*, o.id AS organization_id, o.budget_id, v.id AS user_id, v.token_id, x.id AS project_id, m.id AS model, w.id AS served_model, w.provider, w.reasons, w.pace,
              NOT (b.status = 'FAILED' AND b.u_used < 0.5) AS used,
              least(400000, greatest(20, exp(7.1 + 1.3 * b.normal_a) * CASE b.scenario WHEN 'LONG_CONTEXT' THEN 12 WHEN 'BACKGROUND' THEN 0.3 ELSE 1 END))::integer AS prompt
            FROM (
              SELECT k.n, k.hash, k.batch, k.day_number, k.occurred_at, k.rank, k.late, k.books, k.recorded, ${piece('h3', 0)} AS u_user, ${piece('h3', 1)} AS u_project, ${piece('h3', 2)} AS u_cache, ${piece('h3', 3)} AS u_used,
                width_bucket(${piece('h4', 0)}, ${MODEL_SHARES}) AS model_rank, ${piece('h4', 1)} < 0.03 AS fell_back,
                ('{${SCENARIOS.names.join(',')}}'::text[])[width_bucket(${piece('h4', 2)}, ${shares(SCENARIOS.weights)})] AS scenario,
                ('{${STATUSES.names.join(',')}}'::text[])[width_bucket(${piece('h4', 3)}, ${shares(STATUSES.weights)})] AS status,
                ('{${AGENTS.join(',')}}'::text[])[1 + (${piece('h5', 0)} * 20)::integer] AS agent, ${piece('h5', 1)} < 0.6 AS in_conversation, ${piece('h5', 2)} < 0.55 AS streamed,
                CASE WHEN k.day_number < 90 THEN 'DIRECT' ELSE 'LITELLM' END AS upstream,
                ${normal(piece('h6', 0), piece('h6', 1))} AS normal_a, ${normal(piece('h6', 2), piece('h6', 3))} AS normal_b,
                ${normal(piece('h7', 0), piece('h7', 1))} AS normal_c, ${normal(piece('h7', 2), piece('h7', 3))} AS normal_d
              FROM (
                SELECT g.n, g.books, g.recorded, md5(g.n || '/${SEED}') AS hash, $5::bigint + (g.n - $3::bigint) / ${ROWS_PER_BATCH} AS batch, g.day_number,
                  date_trunc('milliseconds', $1::timestamptz + make_interval(secs => 3600 * (g.hour - 1 + (g.place - g.hours[g.hour]) / (g.hours[g.hour + 1] - g.hours[g.hour])))) AS occurred_at,
                  width_bucket(${whole('g.h1')}, g.ranks) AS rank, ${piece('g.h2', 0)} < 0.001 AND $4::float8 = 1 AS late, g.h3, g.h4, g.h5, g.h6, g.h7
                FROM (
                  SELECT i.n, i.hours, i.ranks, i.books, i.recorded, i.day_number, i.place, width_bucket(i.place, i.hours) AS hour,
                    ${[1, 2, 3, 4, 5, 6, 7].map((j) => `hashint8extended(i.n, ${SEED + j}) AS h${j}`).join(', ')}
                  FROM (
                    SELECT n, (n - $3::bigint + 0.5) / $2::integer * $4::float8 AS place, ${numbers(HOURS)} AS hours, f.ranks, f.books, f.recorded,
                      (extract(epoch FROM $1::timestamptz) / 86400)::integer - 20047 AS day_number
                    FROM generate_series($3::bigint, $3::bigint + $2::integer - 1) AS n, bench.shares AS f OFFSET 0) AS i OFFSET 0) AS g OFFSET 0) AS k OFFSET 0) AS b
            JOIN bench.organizations AS o ON o.rank = b.rank
            JOIN bench.users AS v ON v.number = o.first_user + floor(o.users * b.u_user ^ 2)
            LEFT JOIN bench.projects AS x ON x.number = o.first_project + floor(o.projects * ((b.u_project - 0.1) / 0.9) ^ 2) AND b.u_project >= 0.1
            JOIN bench.organization_models AS om ON om.rank = b.rank AND om.nth = b.model_rank
            JOIN bench.models AS m ON m.number = om.model
            JOIN bench.models AS w ON w.number = CASE WHEN b.fell_back THEN (om.model + 1) % ${models.length} ELSE om.model END OFFSET 0) AS d OFFSET 0) AS q OFFSET 0) AS s OFFSET 0) AS t
    CROSS JOIN LATERAL (SELECT CASE WHEN t.usage_source = 'NONE' THEN 0 ELSE 1 END AS free) AS z
    LEFT JOIN LATERAL (SELECT e.number FROM bench.prices AS e WHERE e.model = t.served_model AND e.from_at <= t.occurred_at AND e.to_at > t.occurred_at AND e.recorded_at <= t.settled_at ORDER BY e.number DESC LIMIT 1) AS p ON true
    LEFT JOIN price_rates AS r ON r.number = p.number AND t.uncached + t.cache_read + t.cache_write > r.above_prompt_tokens AND t.uncached + t.cache_read + t.cache_write <= r.up_to_prompt_tokens OFFSET 0) AS priced`;

/**
 * The batches of a day, from its rows: one row for each organisation, all at the time of the last one. $1 and $2: the
 * first and the last.
 */
export const INSERT_BATCHES = `
  INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
  SELECT organization_id, batch_id, min(occurred_at), max(occurred_at), count(*), max(max(settled_at)) OVER (PARTITION BY batch_id)
  FROM llm_usage WHERE batch_id BETWEEN $1 AND $2 AND occurred_at >= $3 AND occurred_at < $4 GROUP BY organization_id, batch_id`;
