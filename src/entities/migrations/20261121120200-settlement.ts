import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Settlement and correction as functions: one round trip, one transaction. The locks are taken in the order that admission takes them in. */
export class Settlement20261121120200 implements MigrationInterface {
  name = 'Settlement20261121120200';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(ALERTS);
    await runner.query(BOOK);
    await runner.query(SETTLE);
    await runner.query(CORRECT);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const ALERTS = `
  -- Makes the alerts that are due on period rows, each once. The soft limit is a threshold like the others: its percent is its part of the limit.
  CREATE FUNCTION weir.make_alerts(v_budgets text[], v_dates date[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    due record;
    last_at timestamptz;
  BEGIN
    FOR due IN
      SELECT b.id AS budget_id, b.period, p.starts_on, t.percent, p.spent, b.limit_amount
      FROM unnest(v_budgets, v_dates) AS r(id, day)
      JOIN budgets AS b ON b.id = r.id
      JOIN budget_periods AS p ON p.budget_id = r.id AND p.starts_on = r.day
      CROSS JOIN LATERAL (
        SELECT percent, b.limit_amount * percent / 100 AS amount FROM unnest(b.alert_at_percent) AS percent
        UNION SELECT CASE WHEN b.limit_amount = 0 THEN 100 ELSE round(b.soft_limit * 100 / b.limit_amount)::int END, b.soft_limit WHERE b.soft_limit IS NOT NULL) AS t
      WHERE p.spent > 0 AND p.spent >= t.amount
        AND NOT EXISTS (SELECT FROM budget_alerts AS a WHERE a.budget_id = p.budget_id AND a.period = b.period AND a.starts_on = p.starts_on AND a.percent = t.percent)
      ORDER BY b.id, p.starts_on, t.percent
    LOOP
      -- One writer at a time until its commit: times are then in the order in which alerts become visible, and "after" misses none.
      PERFORM pg_advisory_xact_lock(3, 0);
      SELECT max(at) INTO last_at FROM budget_alerts;
      INSERT INTO budget_alerts (id, budget_id, period, starts_on, percent, spent, limit_amount, at)
        VALUES (weir.new_id('alr'), due.budget_id, due.period, due.starts_on, due.percent, due.spent, due.limit_amount,
          greatest(date_trunc('milliseconds', weir.now()), last_at + interval '1 millisecond'))
        ON CONFLICT (budget_id, period, starts_on, percent) DO NOTHING;
      IF FOUND THEN PERFORM pg_notify('weir_budget_alerts', due.budget_id); END IF;
    END LOOP;
  END $$;
`;

const BOOK = `
  CREATE TYPE weir.booking AS (budget_id text, starts_on date, spent numeric, released numeric, excess numeric);

  -- Books on period rows, locked in their order. What a provider used above the hold is overage, as far as it exceeds the limit: so that
  -- spent - overage + held never does. A refund takes back overage first.
  CREATE FUNCTION weir.book(bookings weir.booking[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  BEGIN
    IF bookings IS NULL THEN RETURN; END IF;
    PERFORM FROM unnest(bookings) AS d JOIN budget_periods AS p ON p.budget_id = d.budget_id AND p.starts_on = d.starts_on
      ORDER BY p.budget_id, p.starts_on FOR NO KEY UPDATE OF p;
    UPDATE budget_periods AS p SET
        spent = p.spent + d.spent,
        held = p.held - d.released,
        overage = CASE
          WHEN d.spent < 0 THEN least(p.overage, p.spent + d.spent, greatest(0, p.spent + d.spent + p.held - d.released - b.limit_amount))
          ELSE p.overage + least(d.excess, greatest(0, p.spent + d.spent - p.overage + p.held - d.released - b.limit_amount)) END
      FROM unnest(bookings) AS d JOIN budgets AS b ON b.id = d.budget_id
      WHERE p.budget_id = d.budget_id AND p.starts_on = d.starts_on;
    PERFORM weir.make_alerts(array_agg(d.budget_id), array_agg(d.starts_on)) FROM unnest(bookings) AS d WHERE d.spent > 0;
  END $$;
`;

const COLUMNS = `user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model, served_model, provider, deployment, upstream, attempts, status,
  error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source,
  raw_usage, price_number, cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms,
  omitted_messages`;

const SETTLE = `
  CREATE TYPE weir.call_end AS (organization_id text, occurred_at timestamptz, id text, user_id text, token_id text, project_id text, conversation_id text, agent text,
    scenario text, trace_id text, streamed boolean, model text, served_model text, provider text, deployment text, upstream text, attempts integer, status text,
    error_code text, finish_reason text, uncached_prompt_tokens integer, cache_read_tokens integer, cache_write_tokens integer, cache_write_one_hour_tokens integer,
    output_tokens integer, reasoning_tokens integer, usage_source text, raw_usage jsonb, price_number bigint, cost numeric, cost_input numeric, cost_cache_read numeric,
    cost_cache_write numeric, cost_output numeric, cost_reasoning numeric, cost_request numeric, proxy_cost numeric, latency_ms integer, time_to_first_token_ms integer,
    omitted_messages integer, answer_id text, question_id text, content text, reasoning text, tool_calls jsonb, complete boolean, key text, stored jsonb,
    budget_ids text[], budget_dates date[]);

  -- The gate is the insert into llm_usage: everything else derives from what it returned, so that settling twice is harmless, and a call in
  -- flight that is gone does not mean that it is settled. What was held is released with the row that holds it. Gives the ids of those newly settled.
  CREATE FUNCTION weir.settle(ends json) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
  #variable_conflict use_column
  DECLARE
    batch weir.call_end[];
    ids text[];
    organizations text[];
    streamed_ids text[];
    has_key boolean; has_answer boolean;
    -- by the place of the call: what its row in flight held, and where
    released numeric[];
    held weir.held_on[];
    settled text[];
    bookings weir.booking[];
    r record;
  BEGIN
    -- Sorted once: every statement below goes through it in this order.
    -- And each call once: what comes twice in a group is booked once.
    SELECT array_agg(d.x ORDER BY (d.x).organization_id, (d.x).occurred_at, (d.x).id), array_agg((d.x).id ORDER BY (d.x).organization_id, (d.x).occurred_at, (d.x).id), array_agg(DISTINCT (d.x).organization_id),
        array_agg((d.x).id) FILTER (WHERE (d.x).streamed), bool_or((d.x).key IS NOT NULL), bool_or((d.x).answer_id IS NOT NULL)
      INTO batch, ids, organizations, streamed_ids, has_key, has_answer
      FROM (SELECT DISTINCT ON (e.id) e AS x FROM json_populate_recordset(NULL::weir.call_end, ends) AS e ORDER BY e.id) AS d;
    IF batch IS NULL THEN RETURN; END IF;
    released := array_fill(NULL::numeric, ARRAY[cardinality(ids)]);
    held := array_fill(NULL::weir.held_on, ARRAY[cardinality(ids)]);
    PERFORM weir.share_budgets(organizations);
    IF has_answer THEN
      PERFORM FROM conversations AS v WHERE v.id = ANY (SELECT x.conversation_id FROM unnest(batch) AS x WHERE x.answer_id IS NOT NULL) ORDER BY v.id FOR UPDATE;
    END IF;
    IF has_key THEN
      PERFORM FROM unnest(batch) AS x JOIN idempotency_keys AS k ON k.user_id = x.user_id AND k.key = x.key WHERE x.key IS NOT NULL ORDER BY k.user_id, k.key FOR UPDATE OF k;
    END IF;

    FOR r IN
      WITH locked AS (SELECT f.id FROM calls_in_flight AS f WHERE f.id = ANY (ids) ORDER BY f.id FOR UPDATE)
      -- An array, and no join: what Postgres knows of this table's size is seldom true, and by it a join may go through all calls in flight.
      DELETE FROM calls_in_flight AS f WHERE f.id = ANY (ARRAY(SELECT l.id FROM locked AS l)) RETURNING array_position(ids, f.id) AS place, coalesce(f.hold, 0) AS hold, f.budget_ids, f.budget_dates
    LOOP
      released[r.place] := r.hold;
      held[r.place] := ROW(r.budget_ids, r.budget_dates)::weir.held_on;
    END LOOP;

    WITH gate AS (
      INSERT INTO llm_usage (organization_id, occurred_at, id, ${COLUMNS}, budget_ids, budget_dates)
      SELECT organization_id, occurred_at, id, ${COLUMNS},
        CASE WHEN released[x.ordinality] IS NULL THEN coalesce(x.budget_ids, '{}') ELSE (held[x.ordinality]).budget_ids END, CASE WHEN released[x.ordinality] IS NULL THEN coalesce(x.budget_dates, '{}') ELSE (held[x.ordinality]).budget_dates END
      FROM unnest(batch) WITH ORDINALITY AS x ORDER BY x.ordinality
      ON CONFLICT (organization_id, occurred_at, id) DO NOTHING RETURNING id)
    SELECT coalesce(array_agg(id), '{}') INTO settled FROM gate;

    -- First by the set of period rows, of which there are few: most of the sum is made there.
    SELECT array_agg(b ORDER BY b.budget_id, b.starts_on) INTO bookings FROM (
      SELECT t.budget_id, t.starts_on, sum(w.spent) AS spent, sum(w.released) AS released, sum(w.excess) AS excess
      FROM (SELECT y.on_budgets, y.on_dates, sum(y.spent) AS spent, sum(y.released) AS released, sum(greatest(y.spent - y.released, 0)) AS excess
            FROM (SELECT CASE WHEN x.id = ANY (settled) THEN coalesce(x.cost, 0) ELSE 0 END AS spent, coalesce(released[x.ordinality], 0) AS released,
                    CASE WHEN released[x.ordinality] IS NULL THEN x.budget_ids ELSE (held[x.ordinality]).budget_ids END AS on_budgets,
                    CASE WHEN released[x.ordinality] IS NULL THEN x.budget_dates ELSE (held[x.ordinality]).budget_dates END AS on_dates
                  FROM unnest(batch) WITH ORDINALITY AS x) AS y
            GROUP BY y.on_budgets, y.on_dates) AS w
      CROSS JOIN LATERAL unnest(w.on_budgets, w.on_dates) AS t(budget_id, starts_on)
      GROUP BY t.budget_id, t.starts_on) AS b;
    PERFORM weir.book(bookings);

    IF has_key THEN
      UPDATE idempotency_keys AS k SET stored = x.stored, expires_at = weir.now() + interval '24 hours'
        FROM unnest(batch) AS x WHERE x.stored IS NOT NULL AND k.user_id = x.user_id AND k.key = x.key AND k.call_id = x.id AND x.id = ANY (settled);
      DELETE FROM idempotency_keys AS k
        USING unnest(batch) AS x WHERE x.key IS NOT NULL AND x.stored IS NULL AND k.user_id = x.user_id AND k.key = x.key AND k.call_id = x.id AND x.id = ANY (settled);
    END IF;
    IF has_answer THEN
      -- Only where nobody went on from elsewhere meanwhile does the answer become the conversation's head.
      WITH answers AS (SELECT x.* FROM unnest(batch) AS x WHERE x.answer_id IS NOT NULL AND x.id = ANY (settled) AND EXISTS (SELECT FROM conversations AS v WHERE v.id = x.conversation_id)),
      moved AS (
        UPDATE conversations AS v SET head_id = a.answer_id, updated_at = weir.now() FROM answers AS a WHERE v.id = a.conversation_id AND v.head_id = a.question_id RETURNING a.answer_id)
      INSERT INTO messages (id, conversation_id, parent_id, role, content, reasoning, tool_calls, complete, superseded, call_id)
        SELECT a.answer_id, a.conversation_id, a.question_id, 'ASSISTANT', a.content, a.reasoning, a.tool_calls, a.complete, NOT EXISTS (SELECT FROM moved WHERE moved.answer_id = a.answer_id), a.id FROM answers AS a;
    END IF;
    IF streamed_ids IS NOT NULL THEN
      DELETE FROM call_checkpoints AS p WHERE p.call_id = ANY (streamed_ids);
    END IF;
    RETURN QUERY SELECT unnest(settled);
  END $$;
`;

const COUNTS = ['uncached_prompt_tokens', 'cache_read_tokens', 'cache_write_tokens', 'cache_write_one_hour_tokens', 'output_tokens', 'reasoning_tokens'];
const COSTS = ['cost', 'cost_input', 'cost_cache_read', 'cost_cache_write', 'cost_output', 'cost_reasoning', 'cost_request', 'proxy_cost'];
/** A row with everything turned round: it takes back what was booked, and counts as minus one call. Latencies stay with what they were measured on. */
const REVERSED = COLUMNS.split(',')
  .map((name) => name.trim())
  .map((name) => (COUNTS.includes(name) || COSTS.includes(name) ? `-u.${name}` : name === 'latency_ms' || name === 'time_to_first_token_ms' || name === 'raw_usage' ? 'NULL' : `u.${name}`))
  .join(', ');

/** What is true now; what was measured at the first time stays where nobody measured again. */
const CORRECTED = COLUMNS.split(',')
  .map((name) => name.trim())
  .map((name) => (name === 'latency_ms' || name === 'time_to_first_token_ms' ? `coalesce(x.${name}, u.${name})` : `x.${name}`))
  .join(', ');

const CORRECT = `
  -- Later knowledge about settled calls: two rows each, the reversal of what stands and what is true; none where nothing differs. The difference is
  -- booked where the call was. Gives the ids of the calls that were corrected.
  CREATE FUNCTION weir.correct(ends json, reason text) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
  #variable_conflict use_column
  DECLARE
    x weir.call_end;
    u llm_usage;
    step integer;
    on_ids text[];
    on_dates date[];
    bookings weir.booking[] := '{}';
  BEGIN
    PERFORM weir.share_budgets(array_agg(DISTINCT e.organization_id)) FROM json_populate_recordset(NULL::weir.call_end, ends) AS e;
    PERFORM FROM json_populate_recordset(NULL::weir.call_end, ends) AS e JOIN idempotency_keys AS k ON k.user_id = e.user_id AND k.key = e.key
      WHERE e.stored IS NOT NULL ORDER BY k.user_id, k.key FOR UPDATE OF k;
    -- Whoever else corrects one of these calls waits here, and then sees what it was corrected to.
    PERFORM FROM json_populate_recordset(NULL::weir.call_end, ends) AS e JOIN llm_usage AS l ON l.organization_id = e.organization_id AND l.occurred_at = e.occurred_at AND l.id = e.id
      ORDER BY l.organization_id, l.occurred_at, l.id FOR NO KEY UPDATE OF l;
    -- Two of one call come in their order: the later one stands.
    FOR x IN SELECT (t.e).* FROM (SELECT e, row_number() OVER () AS nr FROM json_populate_recordset(NULL::weir.call_end, ends) AS e) AS t
      ORDER BY (t.e).organization_id, (t.e).occurred_at, (t.e).id, t.nr
    LOOP
      SELECT l.* INTO u FROM llm_usage AS l
        WHERE l.organization_id = x.organization_id AND l.occurred_at = x.occurred_at AND coalesce(l.corrects_id, l.id) = x.id AND l.kind <> 'REVERSAL'
        ORDER BY l.correction DESC LIMIT 1;
      CONTINUE WHEN u.id IS NULL;
      CONTINUE WHEN (u.status, u.served_model, u.usage_source, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens, u.cost)
        IS NOT DISTINCT FROM (x.status, x.served_model, x.usage_source, x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens, x.output_tokens, x.reasoning_tokens, x.cost);
      step := u.correction + 1;
      -- Every period row that covers the call: also those of budgets that were filled in behind its settlement, with what stood then.
      SELECT coalesce(array_agg(p.budget_id ORDER BY p.budget_id, p.starts_on), '{}'), coalesce(array_agg(p.starts_on ORDER BY p.budget_id, p.starts_on), '{}') INTO on_ids, on_dates
        FROM budgets AS b JOIN budget_periods AS p ON p.budget_id = b.id
        WHERE b.subject_id IN (u.organization_id, u.project_id, u.user_id, u.token_id) AND p.starts_at <= u.occurred_at AND p.ends_at > u.occurred_at;
      INSERT INTO llm_usage (organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason, ${COLUMNS}, budget_ids, budget_dates)
        SELECT u.organization_id, u.occurred_at, x.id || '~' || step || 'r', 'REVERSAL', x.id, step, reason, ${REVERSED}, on_ids, on_dates;
      INSERT INTO llm_usage (organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason, ${COLUMNS}, budget_ids, budget_dates)
        SELECT x.organization_id, x.occurred_at, x.id || '~' || step, 'CORRECTION', x.id, step, reason, ${CORRECTED}, on_ids, on_dates;
      bookings := bookings || ARRAY(SELECT ROW(t.id, t.day, coalesce(x.cost, 0) - coalesce(u.cost, 0), 0, 0)::weir.booking FROM unnest(on_ids, on_dates) AS t(id, day));
      -- A repetition is told what is known now.
      UPDATE idempotency_keys AS k SET stored = x.stored WHERE x.stored IS NOT NULL AND k.user_id = x.user_id AND k.key = x.key AND k.call_id = x.id;
      RETURN NEXT x.id;
    END LOOP;
    -- Once, behind all usage rows: period rows are locked in their order, and after those.
    PERFORM weir.book(array_agg(ROW(t.budget_id, t.starts_on, t.spent, 0, t.excess)::weir.booking ORDER BY t.budget_id, t.starts_on))
      FROM (SELECT d.budget_id, d.starts_on, sum(d.spent) AS spent, greatest(sum(d.spent), 0) AS excess FROM unnest(bookings) AS d GROUP BY d.budget_id, d.starts_on) AS t;
  END $$;
`;
