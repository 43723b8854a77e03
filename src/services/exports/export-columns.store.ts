/**
 * A column of the file. `text`: what somebody else may have chosen the characters of; the rest are numbers, times and
 * words of our own.
 */
interface Column {
  name: string;
  sql: string;
  text: boolean;
}

const text = (name: string, sql = `c.${name}`): Column => ({ name, sql, text: true });
const own = (name: string, sql = `c.${name}`): Column => ({ name, sql, text: false });
const yesOrNo = (name: string, condition: string): Column =>
  own(name, `CASE WHEN ${condition} THEN 'true' ELSE 'false' END`);
/** Unknown is empty, and not 0. A part that a priced call has nothing of is 0. */
const dollars = (name: string): Column =>
  own(name, `CASE WHEN c.cost IS NOT NULL THEN trim_scale(coalesce(c.${name}, 0)) END`);

const COLUMNS: readonly Column[] = [
  text('call_id'),
  own('occurred_at', `to_char(c.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`),
  text('organization_id'),
  text('organization', 'o.name'),
  text('user_id'),
  text('user', 'u.name'),
  text('project_id'),
  text('project', 'j.name'),
  text('conversation_id'),
  text('trace_id'),
  text('agent'),
  text('scenario'),
  text('model'),
  text('served_model'),
  text('provider'),
  text('upstream'),
  text('status'),
  text('error_code'),
  yesOrNo('streamed', 'c.streamed'),
  ...[
    'uncached_prompt_tokens',
    'cache_read_tokens',
    'cache_write_tokens',
    'cache_write_one_hour_tokens',
    'output_tokens',
    'reasoning_tokens',
    'prompt_tokens',
    'completion_tokens',
    'total_tokens',
  ].map((name) => own(name)),
  text('usage_source'),
  ...['cost', 'cost_input', 'cost_cache_read', 'cost_cache_write', 'cost_output', 'cost_reasoning', 'cost_request'].map(
    dollars,
  ),
  own('proxy_cost', 'trim_scale(c.proxy_cost)'),
  own('latency_ms'),
  own('time_to_first_token_ms'),
  yesOrNo('corrected', `c.kind = 'CORRECTION'`),
];

/** The names of the columns, in their order. */
export const EXPORT_COLUMNS: readonly string[] = COLUMNS.map(({ name }) => name);
/** The first line of every file. */
export const HEADER_LINE = `${EXPORT_COLUMNS.join(',')}\r\n`;

// As patterns of Postgres, where ^ is the beginning of the text and of nothing else. A spreadsheet takes what begins
// like this for a formula, the wide forms of East Asian keyboards included.
const FORMULA = `[=+@\\-\\t\\r\\n＝＋－＠]`;
const QUOTED = `[",\\r\\n]`;
// The same within a text, for a spreadsheet that takes semicolons or tabs for the ends of cells.
const WITHIN = `([;\\t])([=+@\\-＝＋－＠])`;
const MARK = `E'\\x01'`;

/** RFC 4180, and a formula comes as the text that it is: with an apostrophe before it. */
const cell = (given: string): string => {
  const sql = `regexp_replace(${given}, '${WITHIN}', '\\1''\\2', 'g')`;
  const quoted = (before: string): string => `'"${before}' || replace(${sql}, '"', '""') || '"'`;
  return `CASE WHEN ${sql} ~ '^${FORMULA}' THEN ${quoted(`''`)} WHEN ${sql} ~ '${QUOTED}' THEN ${quoted('')} ELSE ${sql} END`;
};
const line = (cells: readonly string[]): string => `concat(${cells.join(`, ',', `)}, E'\\r\\n')`;
// One look at all texts of a row together: nearly all rows have nothing special in any of them, and one cell after the
// other costs twice as much.
const IS_SPECIAL = `concat(${COLUMNS.filter((column) => column.text)
  .map(({ sql }) => sql)
  .join(`, ${MARK}, `)}) ~ '${QUOTED}|${WITHIN}|(^|\\x01)${FORMULA}'`;

/** One line of the file, of a call `c` with the names of its organisation `o`, user `u` and project `j`. */
export const LINE = `CASE WHEN ${IS_SPECIAL} THEN ${line(COLUMNS.map((column) => (column.text ? cell(column.sql) : column.sql)))} ELSE ${line(COLUMNS.map(({ sql }) => sql))} END`;

/** What a line needs of a row of `llm_usage`. */
export const ROW_COLUMNS = `occurred_at, organization_id, user_id, project_id, conversation_id, trace_id, agent, scenario, model, served_model, provider, upstream, status, error_code, streamed,
  uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, prompt_tokens, completion_tokens, total_tokens, usage_source,
  proxy_cost, latency_ms, time_to_first_token_ms, kind`;
export const COST_COLUMNS = [
  'cost',
  'cost_input',
  'cost_cache_read',
  'cost_cache_write',
  'cost_output',
  'cost_reasoning',
  'cost_request',
] as const;
