import type { MigrationInterface, QueryRunner } from 'typeorm';
import { column, commentedFunction, commentedView, type Column } from './commented-view';

/** Figures for people with SQL: cubes, and what is not in them yet. Each statement sees one moment of both, and so its figures are exact. */
export class AnalyticsFigures20261121140310 implements MigrationInterface {
  name = 'AnalyticsFigures20261121140310';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(PERCENTILE);
    await runner.query(ENTRIES);
    for (const { name, title, cube, keys, columns, joins } of CUBES) {
      await runner.query(commentedView(name, title, columns, `(${summed(keys, current(cube, keys))}) AS f ${joins}`));
    }
    await runner.query(AS_OF);
    for (const { asOf, cube, keys, columns, joins } of CUBES) {
      if (asOf) await runner.query(commentedFunction(asOf.name, 'as_of timestamptz, from_day date, to_day date', asOf.comment, columns, `(${summed(keys, earlier(cube, keys))}) AS f ${joins}`));
    }
    await runner.query(LATER);
    await runner.query(commentedView('adjustments', ADJUSTMENTS, [...ADJUSTED, ...DIFFERENCES], `(${summed(ADJUSTMENT_KEYS, adjusting)}) AS f ${ORGANIZATION} ${PROJECT}
      LEFT JOIN price_changes AS c ON c.recorded_at = f.entry_at`));
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const PERCENTILE = `
  -- Each bucket stands for the middle of its bounds, on a logarithmic scale. A share like 0.95 is exact only as a decimal number: as such it is multiplied.
  CREATE FUNCTION analytics.percentile(histogram numeric, fraction double precision) RETURNS double precision LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
  DECLARE
    representatives CONSTANT double precision[] := '{5,10.5,13,15.5,18,21.4,25.9,30.9,36.4,43.4,51.8,61.8,73.3,87.2,104.2,123.6,146.5,174.4,207.8,247.1,293.5,348.7,415,493.7,586.9,697.9,830.4,987.3,1173.7,1395.8,1660.3,1974.2,2347.2,2791.5,3320.1,3948.2,4694.9,5583.1,6639.6,7895.9,9389.8,11166.6,13279.7,15792.2,18780,22333.2,26559.3,31584.9,37560.5,44666.8,53118.5,63169.3,75120.9,89334,106237,126338,150241.8,178668.5,212474,252675.5,300483.5,357337.4,424948.5,463410}';
    digits text := trunc(histogram)::text;
    buckets integer := (length(digits) + 11) / 12;
    calls bigint[] := '{}';
    total bigint := 0;
    seen bigint := 0;
    needed bigint;
  BEGIN
    -- NaN is above every number.
    IF NOT fraction BETWEEN 0 AND 1 THEN
      RAISE EXCEPTION 'fraction: % is no share of the calls; 0.95 means 95 %%', fraction USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF histogram <= 0 THEN RETURN NULL; END IF;
    digits := lpad(digits, buckets * 12, '0');
    FOR b IN 1..buckets LOOP
      calls[b] := substr(digits, 12 * (buckets - b) + 1, 12)::bigint;
      total := total + calls[b];
    END LOOP;
    needed := greatest(ceil(total * fraction::numeric), 1);
    FOR b IN 1..buckets LOOP
      seen := seen + calls[b];
      IF seen >= needed THEN RETURN representatives[b]; END IF;
    END LOOP;
    RETURN NULL;
  END $$;
  COMMENT ON FUNCTION analytics.percentile IS 'Milliseconds within which that share of the calls was (0.95: 95 %), from a histogram or a sum of histograms. At most 9.1 % off from 10 ms on, 5 ms below. NULL without calls. The fraction is from 0 to 1.';
`;

const MEASURES = ['calls', 'failed_calls', 'prompt_tokens', 'cache_read_tokens', 'cache_write_tokens', 'completion_tokens', 'reasoning_tokens', 'cost', 'priced_calls', 'unpriced_calls',
  'latency_count', 'latency_ms', 'latency_histogram', 'first_token_count', 'first_token_ms', 'first_token_histogram'];
const measures = MEASURES.join(', ');

const READS = `(weir.reader() = '*' OR e.organization_id = weir.reader())`;
const COLUMNS = `e.organization_id, e.occurred_at, e.settled_at, e.day, e.quarter AS at, e.project_id, e.user_id, e.model, e.provider, e.upstream, e.scenario, e.status, e.entry_at,
      ${MEASURES.map((measure) => `e.${measure}`).join(', ')}`;
const ENTRIES = `
  -- They read with their owner's rights: batches and parts of price changes, which nobody else may read, name several organisations. Only what the
  -- reader may see comes out of them, and conditions that could tell others about the rest (security_barrier) are asked behind that.
  CREATE VIEW weir.reader_rows WITH (security_barrier) AS SELECT ${COLUMNS} FROM weir.row_entries AS e WHERE ${READS};
  CREATE VIEW weir.reader_price_entries WITH (security_barrier) AS SELECT ${COLUMNS}, e.folded_before FROM weir.price_entries AS e WHERE ${READS};
  -- Those that are not in the cubes. OFFSET 0: batch by batch; the other way round all rows would be read. BETWEEN: how many rows a batch has is
  -- then not guessed from how many batches Postgres has seen, which is one for all rows that are older than batches.
  CREATE VIEW weir.reader_open_rows WITH (security_barrier) AS
    SELECT e.* FROM usage_batches AS b
    CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM weir.row_entries AS e WHERE e.batch_id BETWEEN b.id AND b.id AND e.occurred_at >= b.from_at AND e.occurred_at <= b.to_at AND ${READS} OFFSET 0) AS e
    WHERE weir.reader() = '*' OR weir.reader() = ANY (b.organizations);
`;

const TOLD = ['calls', 'failed_calls', 'prompt_tokens', 'completion_tokens', 'cost', 'priced_calls', 'unpriced_calls'];
/** Sums by keys. A cell that a correction has emptied is none. */
const summed = (keys: readonly string[], entries: string): string => `
      SELECT ${keys.join(', ')}, ${MEASURES.map((name) => `sum(${name})${/cost|histogram/.test(name) ? '' : '::bigint'} AS ${name}`).join(', ')}
      FROM (${entries}) AS e GROUP BY ${keys.join(', ')}
      HAVING (${TOLD.map((name) => `sum(${name})`).join(', ')}) <> (${TOLD.map(() => '0').join(', ')})`;

const all = (keys: readonly string[], source: string, where: string): string => `SELECT ${keys.join(', ')}, ${measures} FROM ${source}${where ? ` WHERE ${where}` : ''}`;

/** Days that have gone are in the cube of quarters of an hour no longer, or soon. */
const current = (cube: string, keys: readonly string[]): string => {
  const kept = cube === 'usage_quarter_hourly' ? `at >= date_trunc('day', weir.now(), 'UTC') - interval '59 days'` : '';
  return [
    all(keys, cube, kept),
    all(keys, 'weir.reader_open_rows', kept),
    all(keys, 'weir.reader_price_entries', `folded_before < 'infinity' AND occurred_at >= folded_before${kept && ` AND ${kept}`}`),
  ].join('\n        UNION ALL ');
};

// Which calls of the last hour before that time were settled by then is in their rows alone: from their day on these are read.
const BY_ROWS_FROM = `((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date`;
const midnight = (day: string): string => `(${day})::timestamp AT TIME ZONE 'UTC'`;
const earlier = (cube: string, keys: readonly string[]): string => {
  const folded = `occurred_at >= ${midnight('from_day')} AND occurred_at < ${midnight(`least(to_day, ${BY_ROWS_FROM})`)}`;
  const single = `occurred_at >= ${midnight(`greatest(from_day, ${BY_ROWS_FROM})`)} AND occurred_at < ${midnight('to_day')} AND occurred_at <= as_of`;
  return [
    all(keys, cube, `weir.check_as_of(as_of, from_day, to_day) AND day >= from_day AND day < least(to_day, ${BY_ROWS_FROM}) AND entry_at <= as_of`),
    all(keys, 'weir.reader_open_rows', `${folded} AND entry_at <= as_of`),
    all(keys, 'weir.reader_price_entries', `${folded} AND folded_before < 'infinity' AND occurred_at >= folded_before AND entry_at <= as_of`),
    all(keys, 'weir.reader_rows', `${single} AND settled_at <= as_of`),
    all(keys, 'weir.reader_price_entries', `${single} AND entry_at <= as_of`),
  ].join('\n        UNION ALL ');
};

const AS_OF = `
  -- Whether figures as of a time can be told; raises where not. What was settled until a moment ago may not have been committed yet.
  CREATE FUNCTION weir.check_as_of(as_of timestamptz, from_day date, to_day date) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DECLARE
    first date := greatest(from_day, ((as_of - interval '1 hour') AT TIME ZONE 'UTC')::date);
  BEGIN
    IF as_of IS NULL OR from_day IS NULL OR to_day IS NULL THEN
      RAISE EXCEPTION 'as_of, from_day and to_day are needed' USING ERRCODE = 'null_value_not_allowed';
    ELSIF as_of > weir.clock() - interval '20 seconds' THEN
      RAISE EXCEPTION 'as_of: calls of the last 20 seconds may still be on their way; name an earlier time' USING ERRCODE = 'invalid_parameter_value';
    ELSIF first < least(to_day, (as_of AT TIME ZONE 'UTC')::date + 1) AND first::timestamp AT TIME ZONE 'UTC' < (SELECT dropped_before FROM public.usage_retention) THEN
      RAISE EXCEPTION 'to_day: single calls of % were removed, and the day of as_of itself is told from them; name a to_day of % at the latest', first, first USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN true;
  END $$;
`;

const LATER = `
  -- The few cells of later knowledge.
  CREATE INDEX usage_daily_by_project_entry_at_idx ON usage_daily_by_project (organization_id, entry_at) WHERE entry_at > '-infinity';
`;
const ADJUSTMENT_KEYS = ['organization_id', 'project_id', 'model', 'day', 'entry_at'];
const adjusting = [
  all(ADJUSTMENT_KEYS, 'usage_daily_by_project', `entry_at > '-infinity'`),
  all(ADJUSTMENT_KEYS, 'weir.reader_open_rows', `entry_at > '-infinity'`),
  all(ADJUSTMENT_KEYS, 'weir.reader_price_entries', `folded_before < 'infinity' AND occurred_at >= folded_before`),
].join('\n        UNION ALL ');

const ORGANIZATION = 'LEFT JOIN organizations AS o ON o.id = f.organization_id';
const PROJECT = 'LEFT JOIN projects AS p ON p.id = f.project_id';

const DAY = column('day', 'date', 'Day in UTC in which the calls were made.', 'f.day');
const ORGANIZATIONS = [column('organization_id', 'text', 'Organisation that the calls are booked on.', 'f.organization_id'), column('organization', 'text', 'Its name.', 'o.name')];
const PROJECTS = [column('project_id', 'text', 'Project that the calls are booked on; NULL: none.', `nullif(f.project_id, '')`), column('project', 'text', 'Its name.', 'p.name')];
const MODEL = column('model', 'text', 'Model that was asked for. Prices go by the model that answered: analytics.calls.served_model.', 'f.model');

const COUNTS = [
  column('calls', 'bigint', 'Calls that have ended.', 'f.calls'),
  column('failed_calls', 'bigint', 'Those of them that failed or were lost.', 'f.failed_calls'),
  column('prompt_tokens', 'bigint', 'Tokens of the questions, cached ones included.', 'f.prompt_tokens'),
  column('cache_read_tokens', 'bigint', "Prompt tokens from the providers' caches.", 'f.cache_read_tokens'),
  column('cache_write_tokens', 'bigint', "Prompt tokens put into the providers' caches.", 'f.cache_write_tokens'),
  column('completion_tokens', 'bigint', 'Tokens of the answers, reasoning included.', 'f.completion_tokens'),
  column('reasoning_tokens', 'bigint', 'Completion tokens that went into reasoning.', 'f.reasoning_tokens'),
  column('total_tokens', 'bigint', 'Prompt and completion tokens.', 'f.prompt_tokens + f.completion_tokens'),
  column('cost', 'numeric', 'US dollars, exact, of the calls that have a price; NULL where there are calls and none has one.', 'CASE WHEN f.priced_calls = 0 AND f.calls <> 0 THEN NULL ELSE f.cost END'),
  column('unpriced_calls', 'bigint', 'Calls with tokens but without a price: not in cost.', 'f.unpriced_calls'),
];
const LATENCIES = [
  column('average_latency_ms', 'double precision', 'Milliseconds from admission to the end, on average. To merge rows: sum(latency_ms_sum) / sum(latency_count).', 'f.latency_ms::double precision / nullif(f.latency_count, 0)'),
  column('p50_latency_ms', 'double precision', 'Half of the calls took at most so many milliseconds. To merge rows: analytics.percentile(sum(latency_histogram), 0.5).', 'analytics.percentile(f.latency_histogram, 0.5)'),
  column('p95_latency_ms', 'double precision', '95 % of the calls took at most so many milliseconds. To merge rows: analytics.percentile(sum(latency_histogram), 0.95).', 'analytics.percentile(f.latency_histogram, 0.95)'),
  column('average_time_to_first_token_ms', 'double precision', 'Milliseconds from admission to the first token of streamed calls, on average.', 'f.first_token_ms::double precision / nullif(f.first_token_count, 0)'),
  column('p95_time_to_first_token_ms', 'double precision', '95 % of the streamed calls had their first token within so many milliseconds.', 'analytics.percentile(f.first_token_histogram, 0.95)'),
  column('latency_count', 'bigint', 'Calls whose latency is known.', 'f.latency_count'),
  column('latency_ms_sum', 'bigint', 'Sum of their latencies in milliseconds.', 'f.latency_ms'),
  column('latency_histogram', 'numeric', 'Their latencies as a histogram in one number: merge by sum(), read by analytics.percentile().', 'f.latency_histogram'),
  column('first_token_count', 'bigint', 'Streamed calls with a first token.', 'f.first_token_count'),
  column('first_token_ms_sum', 'bigint', 'Sum of their times to the first token in milliseconds.', 'f.first_token_ms'),
  column('first_token_histogram', 'numeric', 'Their times to the first token as a histogram in one number: merge by sum(), read by analytics.percentile().', 'f.first_token_histogram'),
];

interface Cube { name: string; title: string; cube: string; keys: string[]; columns: Column[]; joins: string; asOf: { name: string; comment: string } | null }
const asOfComment = (view: string): string =>
  `analytics.${view} of the days from from_day (inclusive) to to_day (exclusive), as it stood at as_of: calls settled until then, at the prices recorded until then. as_of is at least 20 seconds ago.`;

const CUBES: Cube[] = [
  {
    name: 'usage_daily', title: 'What was used and what it cost, by UTC day, model, provider, upstream, scenario and status: one row per combination that occurs. Exact at every moment.',
    cube: 'usage_daily', keys: ['organization_id', 'day', 'model', 'provider', 'upstream', 'scenario', 'status'],
    columns: [DAY, ...ORGANIZATIONS, MODEL, column('provider', 'text', 'Provider that answered; NULL: not known.', `nullif(f.provider, '')`), column('upstream', 'text', 'LITELLM (through the proxy) or DIRECT.', 'f.upstream'),
      column('scenario', 'text', 'Label of the call: DEFAULT, BACKGROUND, THINK, LONG_CONTEXT, REVIEW or PLAN.', 'f.scenario'), column('status', 'text', 'How the calls ended: COMPLETED, STOPPED, FAILED or LOST.', 'f.status'), ...COUNTS, ...LATENCIES],
    joins: ORGANIZATION, asOf: { name: 'usage_as_of', comment: asOfComment('usage_daily') },
  },
  {
    name: 'spend', title: 'What was spent, by UTC day, project and model: one row per combination that occurs. Exact at every moment.',
    cube: 'usage_daily_by_project', keys: ['organization_id', 'day', 'project_id', 'model'], columns: [DAY, ...ORGANIZATIONS, ...PROJECTS, MODEL, ...COUNTS],
    joins: `${ORGANIZATION} ${PROJECT}`, asOf: { name: 'spend_as_of', comment: asOfComment('spend') },
  },
  {
    name: 'spend_by_user', title: 'What was spent, by UTC day, user and model: one row per combination that occurs. Exact at every moment.',
    cube: 'usage_daily_by_user', keys: ['organization_id', 'day', 'user_id', 'model'],
    columns: [DAY, ...ORGANIZATIONS, column('user_id', 'text', 'User who made the calls.', 'f.user_id'), column('user_name', 'text', 'Name of the user.', 'u.name'), MODEL, ...COUNTS],
    joins: `${ORGANIZATION} LEFT JOIN users AS u ON u.id = f.user_id`, asOf: null,
  },
  {
    name: 'usage_quarter_hourly', title: 'What was used and what it cost, by quarter of an hour and model, of today and the 59 days before: days of any time zone are made of these. Exact at every moment.',
    cube: 'usage_quarter_hourly', keys: ['organization_id', 'at', 'model'], columns: [column('at', 'timestamptz', 'Beginning of the quarter of an hour.', 'f.at'), ...ORGANIZATIONS, MODEL, ...COUNTS, ...LATENCIES], joins: ORGANIZATION, asOf: null,
  },
];

const ADJUSTMENTS =
  'What later knowledge changed in figures that stood before: price changes, corrections of calls, calls settled an hour after they were made or later. By entry, project, model and UTC day of the calls: differences, which add up with what was booked at first to the figures of now.';
const ADJUSTED = [
  column('entry_at', 'timestamptz', 'When the entry was made: from then on figures have it.', 'f.entry_at'),
  column('kind', 'text', 'PRICE_CHANGE, or LATER_ENTRY: a correction or a late settlement.', `CASE WHEN c.book IS NULL THEN 'LATER_ENTRY' ELSE 'PRICE_CHANGE' END`),
  column('price_number', 'bigint', 'Number of the price record that made it; NULL: no price did.', 'c.book'),
  DAY, ...ORGANIZATIONS, ...PROJECTS, MODEL,
];
const DIFFERENCES = COUNTS.map((c) => ({ ...c, comment: `Difference: ${c.comment.charAt(0).toLowerCase()}${c.comment.slice(1)}` })).map((c) => (c.name === 'cost' ? { ...c, sql: 'f.cost', comment: 'Difference in US dollars, exact; never NULL.' } : c));
