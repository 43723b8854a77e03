import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Settlement and correction again: they mark what they write as a batch for the cubes, and take no cost that was computed by an older price book. */
export class FigureSettlement20261121140200 implements MigrationInterface {
  name = 'FigureSettlement20261121140200';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TYPE weir.call_end ADD ATTRIBUTE service_tier text, ADD ATTRIBUTE book_number bigint;
      CREATE TYPE weir.settled AS (id text, stale boolean);
      DROP FUNCTION weir.settle(json);
      DROP FUNCTION weir.correct(json, text);
    `);
    await runner.query(PRICES);
    await runner.query(SETTLE);
    await runner.query(CORRECT);
    await runner.query(BUDGETS);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const PRICES = `
  -- Keeps the prices of models as they are until the transaction ends. Shared by all settlements; a change of a price takes it alone, for its commit.
  -- Nobody waits here: a group of calls would wait for one model, with the locks that it has. Its caller tries again, and calls of other models go on.
  CREATE FUNCTION weir.share_prices(models text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    key integer;
  BEGIN
    FOR key IN SELECT DISTINCT hashtext(m) FROM unnest(models) AS m LOOP
      IF NOT pg_try_advisory_xact_lock_shared(4, key) THEN RAISE EXCEPTION 'a price of the model is being recorded' USING ERRCODE = 'lock_not_available'; END IF;
    END LOOP;
  END $$;

  -- For whoever appends records: no call of these models is settled until the transaction ends.
  CREATE FUNCTION weir.lock_prices(models text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  BEGIN
    PERFORM pg_advisory_xact_lock(4, k.key) FROM (SELECT DISTINCT hashtext(m) AS key FROM unnest(models) AS m ORDER BY key) AS k;
  END $$;
`;

const COLUMNS = `user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed, model, served_model, provider, deployment, upstream, attempts, status,
  error_code, finish_reason, uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source,
  raw_usage, price_number, cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost, latency_ms, time_to_first_token_ms,
  omitted_messages, service_tier`;

const BUDGETS = `
  -- A budget that is made later begins with what it would have been told: by then prices may have changed, and reversals stand at the new ones.
  DO $$
  DECLARE
    definition text := pg_get_functiondef('weir.fill_budgets(text[])'::regprocedure);
    told text := replace(definition, 'SELECT u.cost FROM llm_usage', 'SELECT coalesce(u.budget_cost, u.cost) AS cost FROM llm_usage');
  BEGIN
    IF told = definition THEN RAISE EXCEPTION 'weir.fill_budgets is not as it was'; END IF;
    EXECUTE told;
  END $$;
`;

const SETTLE = `
  -- The gate is the insert into llm_usage: everything else derives from what it returned, so that settling twice is harmless, and a call in
  -- flight that is gone does not mean that it is settled. What was held is released with the row that holds it. Gives the ids of those newly settled,
  -- and as "stale", with nothing done, those that were priced by an older book than the one that holds now.
  CREATE FUNCTION weir.settle(ends json) RETURNS SETOF weir.settled LANGUAGE plpgsql VOLATILE AS $$
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
    stale text[];
    v_batch bigint;
    v_at timestamptz;
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
    PERFORM weir.share_budgets(organizations);
    PERFORM weir.share_prices(ARRAY(SELECT x.served_model FROM unnest(batch) AS x UNION SELECT x.model FROM unnest(batch) AS x));
    SELECT array_agg(DISTINCT x.id) INTO stale FROM unnest(batch) AS x JOIN price_versions AS v ON v.model IN (x.served_model, x.model) AND v.number > x.book_number;
    IF stale IS NOT NULL THEN
      RETURN QUERY SELECT i, true FROM unnest(stale) AS i;
      SELECT array_agg(x ORDER BY x.organization_id, x.occurred_at, x.id), array_agg(x.id ORDER BY x.organization_id, x.occurred_at, x.id), array_agg(x.id) FILTER (WHERE x.streamed)
        INTO batch, ids, streamed_ids FROM unnest(batch) AS x WHERE NOT x.id = ANY (stale);
      IF batch IS NULL THEN RETURN; END IF;
    END IF;
    released := array_fill(NULL::numeric, ARRAY[cardinality(ids)]);
    held := array_fill(NULL::weir.held_on, ARRAY[cardinality(ids)]);
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

    -- The time is taken behind the lock on this table: whoever has seen its writers end has seen everything that was settled until then.
    INSERT INTO usage_batches (organizations, from_at, to_at, rows, settled_at)
      SELECT array_agg(DISTINCT x.organization_id), min(x.occurred_at), max(x.occurred_at), count(*), weir.clock() FROM unnest(batch) AS x
      RETURNING usage_batches.id, usage_batches.settled_at INTO v_batch, v_at;
    WITH gate AS (
      INSERT INTO llm_usage (organization_id, occurred_at, id, ${COLUMNS}, book_number, batch_id, settled_at, budget_ids, budget_dates)
      SELECT organization_id, occurred_at, id, ${COLUMNS}, coalesce(x.book_number, (SELECT max(number) FROM model_prices), 0), v_batch, v_at,
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
    RETURN QUERY SELECT i, false FROM unnest(settled) AS i;
  END $$;
`;

const COUNTS = ['uncached_prompt_tokens', 'cache_read_tokens', 'cache_write_tokens', 'cache_write_one_hour_tokens', 'output_tokens', 'reasoning_tokens'];
const COSTS = ['cost', 'cost_input', 'cost_cache_read', 'cost_cache_write', 'cost_output', 'cost_reasoning', 'cost_request', 'proxy_cost'];
/** A row with everything turned round: it takes back what stands, at the price that stands, and counts as minus one call. */
const REVERSED = COLUMNS.split(',')
  .map((name) => name.trim())
  .map((name) => (name === 'proxy_cost' || COUNTS.includes(name) ? `-u.${name}` : COSTS.includes(name) ? `-was.${name}` : name === 'price_number' ? `was.${name}` : name === 'raw_usage' ? 'NULL' : `u.${name}`))
  .join(', ');

/** What is true now; what was measured at the first time stays where nobody measured again. */
const CORRECTED = COLUMNS.split(',')
  .map((name) => name.trim())
  .map((name) => (name === 'latency_ms' || name === 'time_to_first_token_ms' ? `coalesce(x.${name}, u.${name})` : `x.${name}`))
  .join(', ');

/** Of its models nothing newer is there while the transaction holds them. */
const BOOK = `coalesce((SELECT max(number) FROM model_prices), 0)`;

const CORRECT = `
  -- Later knowledge about settled calls: two rows each, the reversal of what stands and what is true; none where nothing differs. The difference is
  -- booked where the call was. Gives the ids of the calls that were corrected. Raises WP001, with nothing done, where the price book is newer than the one that priced them.
  CREATE FUNCTION weir.correct(ends json, reason text) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
  #variable_conflict use_column
  DECLARE
    x weir.call_end;
    u llm_usage;
    was weir.cost_parts;
    models text[];
    step integer;
    v_batch bigint;
    v_at timestamptz;
    on_ids text[];
    on_dates date[];
    bookings weir.booking[] := '{}';
  BEGIN
    PERFORM weir.share_budgets(array_agg(DISTINCT e.organization_id)) FROM json_populate_recordset(NULL::weir.call_end, ends) AS e;
    SELECT array_agg(DISTINCT m) INTO models FROM (
      SELECT unnest(ARRAY[e.served_model, e.model]) AS m FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
      UNION SELECT l.served_model FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
        JOIN llm_usage AS l ON l.organization_id = e.organization_id AND l.occurred_at = e.occurred_at AND coalesce(l.corrects_id, l.id) = e.id) AS known;
    PERFORM weir.share_prices(models);
    IF EXISTS (SELECT FROM json_populate_recordset(NULL::weir.call_end, ends) AS e JOIN price_versions AS v ON v.model IN (e.served_model, e.model) AND v.number > e.book_number) THEN
      RAISE EXCEPTION 'the price book has changed' USING ERRCODE = 'WP001';
    END IF;
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
      IF NOT u.served_model = ANY (models) THEN
        RAISE EXCEPTION 'a call was corrected to another model meanwhile' USING ERRCODE = 'WP001';
      END IF;
      -- What the provider said stands, also where it was said while an estimate was being looked up.
      CONTINUE WHEN reason IN ('RECONCILIATION', 'SPEND_RECORD') AND u.usage_source = 'PROVIDER';
      was := weir.cost_as_of(u, NULL);
      -- Priced by the model that was asked for, since the one that served had no price: told once more, it stands, whatever the asked one costs by now.
      CONTINUE WHEN was.price_number = u.price_number AND EXISTS (SELECT FROM model_prices AS m WHERE m.number = u.price_number AND m.model <> u.served_model)
        AND (u.status, u.served_model, u.usage_source, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens)
        IS NOT DISTINCT FROM (x.status, x.served_model, x.usage_source, x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens, x.output_tokens, x.reasoning_tokens);
      CONTINUE WHEN (u.status, u.served_model, u.usage_source, u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens, u.output_tokens, u.reasoning_tokens, was.cost)
        IS NOT DISTINCT FROM (x.status, x.served_model, x.usage_source, x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens, x.output_tokens, x.reasoning_tokens, x.cost);
      step := u.correction + 1;
      -- Every period row that covers the call: also those of budgets that were filled in behind its settlement, with what stood then.
      SELECT coalesce(array_agg(p.budget_id ORDER BY p.budget_id, p.starts_on), '{}'), coalesce(array_agg(p.starts_on ORDER BY p.budget_id, p.starts_on), '{}') INTO on_ids, on_dates
        FROM budgets AS b JOIN budget_periods AS p ON p.budget_id = b.id
        WHERE b.subject_id IN (u.organization_id, u.project_id, u.user_id, u.token_id) AND p.starts_at <= u.occurred_at AND p.ends_at > u.occurred_at;
      INSERT INTO usage_batches (organizations, from_at, to_at, rows, settled_at) VALUES (ARRAY[u.organization_id], u.occurred_at, u.occurred_at, 2, weir.clock())
        RETURNING usage_batches.id, usage_batches.settled_at INTO v_batch, v_at;
      INSERT INTO llm_usage (organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason, ${COLUMNS}, budget_cost, book_number, batch_id, settled_at, budget_ids, budget_dates)
        SELECT u.organization_id, u.occurred_at, x.id || '~' || step || 'r', 'REVERSAL', x.id, step, reason, ${REVERSED}, -u.cost, ${BOOK}, v_batch, v_at, on_ids, on_dates;
      INSERT INTO llm_usage (organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason, ${COLUMNS}, book_number, batch_id, settled_at, budget_ids, budget_dates)
        SELECT x.organization_id, x.occurred_at, x.id || '~' || step, 'CORRECTION', x.id, step, reason, ${CORRECTED}, coalesce(x.book_number, ${BOOK}), v_batch, v_at, on_ids, on_dates;
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
