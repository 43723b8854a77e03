import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Usage rows and price changes as entries of figures, and the functions that fold them into the cubes. Every figure is a sum of such entries, whichever way it is read. */
export class FigureEntries20261121140100 implements MigrationInterface {
  name = 'FigureEntries20261121140100';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(HISTOGRAMS);
    await runner.query(ENTRIES);
    await runner.query(FOLD);
    // What was booked before the cubes existed.
    await runner.query(`WITH entries AS MATERIALIZED (SELECT * FROM weir.row_entries), ${CELLS} SELECT`);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

// Milliseconds at which the buckets 1 to 63 begin: 10 * 2^(i/4), rounded up.
const BOUNDS = `'{10,12,15,17,20,24,29,34,40,48,57,68,80,96,114,135,160,191,227,270,320,381,453,539,640,762,906,1077,1280,1523,1811,2153,2560,3045,3621,4306,5120,6089,7241,8611,10240,12178,14482,17222,20480,24355,28964,34444,40960,48710,57927,68887,81920,97420,115853,137773,163840,194840,231705,275545,327680,389680,463410}'::integer[]`;

const HISTOGRAMS = `
  -- A histogram of milliseconds in one number: 64 buckets of 12 decimal digits, the first bucket being the lowest digits. Histograms are merged by adding them.
  CREATE FUNCTION weir.histogram(ms integer) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('1e' || (12 * width_bucket(ms, ${BOUNDS}))::text)::numeric $$;
`;

/** What an entry adds to each figure; the names of the cubes' columns. */
const MEASURES = ['calls', 'failed_calls', 'prompt_tokens', 'cache_read_tokens', 'cache_write_tokens', 'completion_tokens', 'reasoning_tokens', 'cost', 'priced_calls', 'unpriced_calls',
  'latency_count', 'latency_ms', 'latency_histogram', 'first_token_count', 'first_token_ms', 'first_token_histogram'];

const DIMENSIONS = `u.organization_id, u.occurred_at, u.id, coalesce(u.corrects_id, u.id) AS call_id, (u.occurred_at AT TIME ZONE 'UTC')::date AS day, date_bin('15 minutes', u.occurred_at, timestamptz '2000-01-01 00:00+00') AS quarter,
      u.user_id, coalesce(u.project_id, '') AS project_id, u.conversation_id, u.agent, u.scenario, u.trace_id, u.model, u.served_model, coalesce(u.provider, '') AS provider, u.upstream, u.status, u.settled_at, u.batch_id`;

/** The rates of a record, one array for each bucket, by tier: one row, so that rows are read once and no join is made for each. */
const ratesOf = (r: string, number: string): string => `SELECT array_agg(above_prompt_tokens ORDER BY above_prompt_tokens) AS ${r}_above, ${['input', 'cache_read', 'cache_write', 'cache_write_one_hour', 'output', 'reasoning', 'per_request']
  .map((name) => `array_agg(${name} ORDER BY above_prompt_tokens) AS ${r}_${name}`).join(', ')} FROM price_rates WHERE number = ${number}`;
/** A row priced by the rates "r" of the part "p"; a call that used nothing costs nothing. A prompt of exactly the bound stays below the tier. */
const priced = (r: string): string => {
  const rate = (name: string): string => `p.${r}_${name}[width_bucket(abs(u.prompt_tokens) - 1, p.${r}_above)]`;
  return `CASE WHEN u.usage_source = 'NONE' THEN 0 ELSE u.uncached_prompt_tokens * ${rate('input')} + u.cache_read_tokens * ${rate('cache_read')}
      + (u.cache_write_tokens - u.cache_write_one_hour_tokens) * ${rate('cache_write')} + u.cache_write_one_hour_tokens * ${rate('cache_write_one_hour')}
      + u.output_tokens * ${rate('output')} + u.reasoning_tokens * coalesce(${rate('reasoning')}, ${rate('output')}) + u.sign * ${rate('per_request')} END`;
};
const CONCERNS = `(u.organization_id = ANY (p.organizations)) = p.organizations_listed AND (coalesce(u.deployment, '') = ANY (p.deployments)) = p.deployments_listed
        AND (coalesce(u.service_tier, '') = ANY (p.service_tiers)) = p.service_tiers_listed`;

const ENTRIES = `
  -- What each row of llm_usage adds to the figures, at the price it was booked at.
  CREATE VIEW weir.row_entries AS
    SELECT ${DIMENSIONS},
      CASE WHEN u.kind = 'CALL' AND u.settled_at - u.occurred_at < interval '1 hour' THEN timestamptz '-infinity' ELSE u.settled_at END AS entry_at,
      u.sign::bigint AS calls, CASE WHEN u.status IN ('FAILED', 'LOST') THEN u.sign ELSE 0 END::bigint AS failed_calls,
      u.prompt_tokens::bigint AS prompt_tokens, u.cache_read_tokens::bigint AS cache_read_tokens, u.cache_write_tokens::bigint AS cache_write_tokens,
      u.completion_tokens::bigint AS completion_tokens, u.reasoning_tokens::bigint AS reasoning_tokens,
      coalesce(u.cost, 0) AS cost, CASE WHEN u.cost IS NULL THEN 0 ELSE u.sign END::bigint AS priced_calls, CASE WHEN u.cost IS NULL AND u.total_tokens <> 0 THEN u.sign ELSE 0 END::bigint AS unpriced_calls,
      CASE WHEN u.latency_ms IS NULL THEN 0 ELSE u.sign END::bigint AS latency_count, coalesce(u.sign * u.latency_ms, 0)::bigint AS latency_ms, coalesce(u.sign * weir.histogram(u.latency_ms), 0) AS latency_histogram,
      CASE WHEN u.time_to_first_token_ms IS NULL THEN 0 ELSE u.sign END::bigint AS first_token_count, coalesce(u.sign * u.time_to_first_token_ms, 0)::bigint AS first_token_ms,
      coalesce(u.sign * weir.histogram(u.time_to_first_token_ms), 0) AS first_token_histogram
    FROM llm_usage AS u;

  -- What each price change adds to the figures of each row that was settled before it: the difference to what stood.
  CREATE VIEW weir.price_entries AS
    SELECT e.*, c.book, c.folded_before, c.recorded_at AS entry_at,
      0::bigint AS calls, 0::bigint AS failed_calls, 0::bigint AS prompt_tokens, 0::bigint AS cache_read_tokens, 0::bigint AS cache_write_tokens, 0::bigint AS completion_tokens, 0::bigint AS reasoning_tokens,
      e.cost_after - coalesce(e.cost_before, 0) AS cost, CASE WHEN e.cost_before IS NULL THEN e.sign ELSE 0 END::bigint AS priced_calls,
      CASE WHEN e.cost_before IS NULL AND e.total_tokens <> 0 THEN -e.sign ELSE 0 END::bigint AS unpriced_calls,
      0::bigint AS latency_count, 0::bigint AS latency_ms, 0::numeric AS latency_histogram, 0::bigint AS first_token_count, 0::bigint AS first_token_ms, 0::numeric AS first_token_histogram
    FROM price_changes AS c
    CROSS JOIN LATERAL (
      SELECT ${DIMENSIONS}, u.sign, u.total_tokens, u.cost AS cost_booked, ${priced('a')} AS cost_after,
        -- Where the row was booked with that record known, its cost is what was booked.
        CASE WHEN u.book_number < p.previous THEN ${priced('b')} ELSE u.cost END AS cost_before
      -- OFFSET keeps a part and its rates one thing: the model is then looked at first, where rows are read, and not behind what costs more.
      FROM (SELECT c.model, q.*, a.*, b.* FROM price_change_parts AS q CROSS JOIN LATERAL (${ratesOf('a', 'c.book')}) AS a CROSS JOIN LATERAL (${ratesOf('b', 'q.previous')}) AS b
        WHERE q.book = c.book OFFSET 0) AS p
      JOIN llm_usage AS u ON u.served_model = p.model AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at AND u.book_number < c.book AND ${CONCERNS}) AS e;

  -- The record that a row is priced by as the book stood at a time (null: now). null: by what was booked with it.
  CREATE FUNCTION weir.repriced_by(u llm_usage, as_of timestamptz) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT max(c.book) FROM price_changes AS c JOIN price_change_parts AS p ON p.book = c.book
    WHERE c.model = u.served_model AND c.book > u.book_number AND (as_of IS NULL OR c.recorded_at <= as_of) AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at AND ${CONCERNS} $$;

  CREATE TYPE weir.cost_parts AS (cost numeric, cost_input numeric, cost_cache_read numeric, cost_cache_write numeric, cost_output numeric, cost_reasoning numeric, cost_request numeric, price_number bigint);

  -- What a row costs as the book stood at a time (null: now), in parts.
  CREATE FUNCTION weir.cost_as_of(u llm_usage, as_of timestamptz) RETURNS weir.cost_parts LANGUAGE plpgsql STABLE AS $$
  DECLARE
    v_number bigint := weir.repriced_by(u, as_of);
    r price_rates;
    parts weir.cost_parts;
  BEGIN
    IF v_number IS NULL THEN
      RETURN ROW(u.cost, u.cost_input, u.cost_cache_read, u.cost_cache_write, u.cost_output, u.cost_reasoning, u.cost_request, u.price_number)::weir.cost_parts;
    END IF;
    parts.price_number := v_number;
    IF u.usage_source = 'NONE' THEN
      SELECT 0, 0, 0, 0, 0, 0, 0 INTO parts.cost, parts.cost_input, parts.cost_cache_read, parts.cost_cache_write, parts.cost_output, parts.cost_reasoning, parts.cost_request;
      RETURN parts;
    END IF;
    SELECT x.* INTO STRICT r FROM price_rates AS x WHERE x.number = v_number AND abs(u.prompt_tokens) > x.above_prompt_tokens AND abs(u.prompt_tokens) <= x.up_to_prompt_tokens;
    parts.cost_input := u.uncached_prompt_tokens * r.input;
    parts.cost_cache_read := u.cache_read_tokens * r.cache_read;
    parts.cost_cache_write := (u.cache_write_tokens - u.cache_write_one_hour_tokens) * r.cache_write + u.cache_write_one_hour_tokens * r.cache_write_one_hour;
    parts.cost_output := (u.output_tokens + CASE WHEN r.reasoning IS NULL THEN u.reasoning_tokens ELSE 0 END) * r.output;
    parts.cost_reasoning := coalesce(u.reasoning_tokens * r.reasoning, 0);
    parts.cost_request := u.sign * r.per_request;
    parts.cost := parts.cost_input + parts.cost_cache_read + parts.cost_cache_write + parts.cost_output + parts.cost_reasoning + parts.cost_request;
    RETURN parts;
  END $$;
`;

const CUBES = {
  usage_daily: ['organization_id', 'day', 'model', 'provider', 'upstream', 'scenario', 'status', 'entry_at'],
  usage_daily_by_project: ['organization_id', 'day', 'project_id', 'model', 'entry_at'],
  usage_daily_by_user: ['organization_id', 'day', 'user_id', 'model', 'entry_at'],
  usage_daily_overall: ['day', 'model', 'provider', 'entry_at'],
  usage_quarter_hourly: ['organization_id', 'at', 'model', 'entry_at'],
};

/** A single entry's count fits an integer, whose sum takes much less time than that of a bigint. */
const sum = (name: string): string => (['cost', 'latency_histogram', 'first_token_histogram'].includes(name) ? `sum(${name})` : `sum(${name}::integer)`);

/** Sorted by the cube's key: whoever else writes the same cells does it in this order. */
const into = (cube: keyof typeof CUBES): string => {
  const keys = CUBES[cube].join(', ');
  const from = keys.replace(' at,', ' quarter AS at,');
  const recent = cube === 'usage_quarter_hourly' ? `WHERE quarter >= date_trunc('day', weir.now(), 'UTC') - interval '60 days'` : '';
  return `INSERT INTO ${cube} (${keys}, ${MEASURES.join(', ')})
        SELECT ${from}, ${MEASURES.map(sum).join(', ')} FROM entries ${recent} GROUP BY ${keys.replace(' at,', ' quarter,')} ORDER BY ${keys.replace(' at,', ' quarter,')}
        ON CONFLICT (${keys}) DO UPDATE SET ${MEASURES.map((name) => `${name} = ${cube}.${name} + excluded.${name}`).join(', ')}`;
};
const CELLS = (Object.keys(CUBES) as (keyof typeof CUBES)[]).map((cube) => `${cube}_cells AS (${into(cube)})`).join(',\n      ');

const FOLD = `
  -- A slice of time, and no whole month, is read where a price change is folded in slices. It costs next to nothing to write.
  CREATE INDEX llm_usage_occurred_at_idx ON llm_usage USING brin (occurred_at) WITH (autosummarize = on);

  -- Folds settled batches, oldest first, until so many rows are done; one folder at a time. Gives what was folded, and nothing where another one is at it.
  CREATE FUNCTION weir.fold(max_rows integer, OUT batches integer, OUT rows bigint) LANGUAGE plpgsql VOLATILE
    -- Planned once, while tables are small, it would keep the full scans that suit small tables.
    SET enable_seqscan = off SET work_mem = '64MB' AS $$
  DECLARE
    ids bigint[];
    first_at timestamptz;
    last_at timestamptz;
  BEGIN
    batches := 0;
    rows := 0;
    IF NOT pg_try_advisory_xact_lock(5, 0) THEN RETURN; END IF;
    SELECT array_agg(b.id), min(b.from_at), max(b.to_at), coalesce(sum(b.rows), 0), count(*) INTO ids, first_at, last_at, rows, batches
      FROM (SELECT x.*, sum(x.rows) OVER (ORDER BY x.id) - x.rows AS before
            -- Each has a row at least: what is left out here is too much anyway, and a long queue is not read whole each time.
            FROM (SELECT * FROM usage_batches ORDER BY id LIMIT max_rows) AS x) AS b
      WHERE b.before < max_rows;
    IF batches = 0 THEN RETURN; END IF;
    WITH entries AS MATERIALIZED (SELECT * FROM weir.row_entries WHERE batch_id = ANY (ids) AND occurred_at >= first_at AND occurred_at <= last_at),
      ${CELLS}
      DELETE FROM usage_batches WHERE id = ANY (ids);
  END $$;

  -- Folds the differences of one price change, for calls that were made before a time; those of earlier calls must have been folded. One at a time.
  -- Gives whether it did: false where another one is at it, or was.
  CREATE FUNCTION weir.fold_price_change(v_book bigint, up_to timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    done timestamptz;
    -- Plain values: with these Postgres leaves out the months that are not concerned.
    first_at timestamptz;
    last_at timestamptz;
  BEGIN
    IF NOT pg_try_advisory_xact_lock(5, 1) THEN RETURN false; END IF;
    SELECT c.folded_before, greatest(c.folded_before, c.starts_at), least(up_to, c.ends_at) INTO done, first_at, last_at FROM price_changes AS c WHERE c.book = v_book;
    IF done IS NULL OR done >= up_to THEN RETURN false; END IF;
    WITH entries AS MATERIALIZED (SELECT * FROM weir.price_entries WHERE book = v_book AND occurred_at >= first_at AND occurred_at < last_at),
      ${CELLS}
      UPDATE price_changes SET folded_before = up_to WHERE book = v_book;
    RETURN true;
  END $$;
`;
