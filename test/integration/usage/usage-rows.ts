import type { Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';

/** A settled call as the tests of reports need it. */
export interface UsageRow {
  organization_id: string;
  occurred_at: string;
  id: string;
  user_id: string;
  project_id: string | null;
  conversation_id: string | null;
  agent: string | null;
  scenario: string;
  trace_id: string;
  streamed: boolean;
  model: string;
  served_model: string;
  provider: string | null;
  upstream: string;
  attempts: number;
  status: string;
  error_code: string | null;
  uncached_prompt_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  cache_write_one_hour_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  usage_source: string;
  cost: string | null;
  cost_input: string | null;
  cost_output: string | null;
  latency_ms: number | null;
  time_to_first_token_ms: number | null;
  door: string;
  operation: string;
}

export function usageRow(
  fields: Partial<UsageRow> & { organization_id: string; user_id: string; occurred_at: string },
): UsageRow {
  return {
    id: newId('call'),
    project_id: null,
    conversation_id: null,
    agent: null,
    scenario: 'DEFAULT',
    trace_id: 'a'.repeat(32),
    streamed: false,
    model: 'm',
    served_model: fields.model ?? 'm',
    provider: null,
    upstream: 'DIRECT',
    attempts: 1,
    status: 'COMPLETED',
    error_code: null,
    uncached_prompt_tokens: 10,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    cache_write_one_hour_tokens: 0,
    output_tokens: 5,
    reasoning_tokens: 0,
    usage_source: 'PROVIDER',
    cost: '0.001',
    cost_input: '0.0006',
    cost_output: '0.0004',
    latency_ms: 100,
    time_to_first_token_ms: null,
    door: 'GRAPHQL',
    operation: 'CHAT',
    ...fields,
  };
}

/** As a settlement leaves them: in a batch that is not folded yet. Gives its number. */
export async function insertUsage(db: Db, rows: readonly UsageRow[]): Promise<number> {
  const columns = Object.keys(rows[0]!).join(', ');
  const [batch] = await db.query<{ id: string }>(`SELECT nextval('weir.usage_batch_ids') AS id`);
  await db.query(
    `WITH new AS (SELECT * FROM json_populate_recordset(NULL::llm_usage, $1::json)),
     batch AS (INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
       SELECT organization_id, $2::bigint, min(occurred_at), max(occurred_at), count(*), max(max(coalesce(settled_at, weir.now()))) OVER () FROM new GROUP BY organization_id)
     INSERT INTO llm_usage (${columns}, batch_id) SELECT ${columns}, $2::bigint FROM new`,
    [JSON.stringify(rows), batch!.id],
  );
  return Number(batch!.id);
}

export async function insertInFlight(
  db: Db,
  call: { id?: string; organization_id: string; user_id: string; occurred_at: string; model?: string },
): Promise<string> {
  const id = call.id ?? newId('call');
  await db.query(
    `INSERT INTO calls_in_flight (id, occurred_at, organization_id, user_id, scenario, trace_id, model, upstream, streamed, max_tokens, prompt_tokens_estimate, owner, deadline_at, door, operation)
     VALUES ($1, $2, $3, $4, 'DEFAULT', 'b', $5, 'DIRECT', true, 10, 10, 'test', weir.now() + interval '1 hour', 'GRAPHQL', 'CHAT')`,
    [id, call.occurred_at, call.organization_id, call.user_id, call.model ?? 'm'],
  );
  return id;
}

/**
 * Corrects a settled call as the ledger does, and gives what is true of it from then on. Fails where nothing was to be
 * corrected.
 */
export async function correctUsage(db: Db, call: UsageRow, changes: Partial<UsageRow>): Promise<UsageRow> {
  const truth = { ...call, ...changes };
  const [row] = await db.query<{ corrected: string[] }>(`SELECT corrected FROM weir.correct($1::json, 'TEST')`, [
    JSON.stringify([{ ...truth, omitted_messages: 0 }]),
  ]);
  if (row!.corrected.length !== 1) throw new Error(`${call.id} was not corrected`);
  return truth;
}
