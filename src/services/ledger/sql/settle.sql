-- Settles calls that have ended: one transaction for a group of calls.
--
-- What happens to a cent: the row of the call in calls_in_flight is deleted, and says what was reserved ("hold") and on
-- which period rows. The cost is written to llm_usage, once per call. Then each of these period rows gets the cost
-- added to "spent" and the reservation taken from "held" (weir.book). What a call cost above its reservation is its
-- excess; where that takes a period above its limit, it is booked as overage as well.
--
-- The gate is the insert into llm_usage: everything else derives from what it returned, so that settling twice is
-- harmless. A call in flight that is gone does not mean that it is settled.
--
-- Takes the ends of calls as JSON (weir.call_end), with their costs, which the caller has computed by the price book.
--
-- Gives
--   settled  the ids of those newly settled
--   stale    the ids of those that were priced by an older book than the one that holds now, with nothing done for
--            them; null: none
--   alerted  whether budgets have new alerts: the caller notifies who listens
--   waited   how long it waited for period rows; null: nothing was booked
-- Raises lock_not_available (55P03), with nothing done, while a budget of one of the organisations is being changed, or
-- a price of one of the models recorded.
--
-- Locks, in the order of weir.admit: the organisations' and then the models' advisory locks (shared, weir.share_budgets
-- and weir.share_prices), conversations, idempotency keys, calls in flight, usage rows, period rows
-- (weir.lock_periods), alerts (weir.make_alerts). They are held until the end of the transaction.
CREATE OR REPLACE FUNCTION weir.settle(
    ends json,
    OUT settled text[], OUT stale text[], OUT alerted boolean, OUT waited interval)
  LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  -- the only call of a group of one
  c weir.call_end;

  -- the calls in the order of their ids, and what is common to them: "models" are those that served or were asked for
  batch weir.call_end[];
  ids text[];
  models text[];
  oldest_book bigint;
  newest_book bigint;
  organizations text[];

  -- which steps are needed at all; "is_all_new": none of the calls had been settled before
  is_single boolean; is_shared boolean; is_all_new boolean; has_key boolean; has_answer boolean; has_stream boolean;

  -- what the call's row in flight said, by the place of the call in the batch: the dollars reserved (null: there was no
  -- row), the period rows that hold them, and what was left of the tightest budget
  released numeric[];
  held weir.held_on[];
  lefts numeric[];
  left_percents numeric[];

  -- the batch of usage rows, and the time at which they are settled; the time at which stored answers expire
  v_batch bigint;
  v_at timestamptz;
  v_expires_at timestamptz := weir.now() + interval '24 hours';

  -- what is added to each period row
  bookings weir.booking[];
  r record;
BEGIN
  settled := '{}';
  alerted := false;

  -- 1. Sorted once: every statement below goes through the batch in this order. And each call once: one that comes
  -- twice in a group is booked once.
  is_single := json_array_length(ends) = 1;
  IF is_single THEN
    -- The short way of a group of one, here and below: nothing is sorted, gathered or looked up that is at hand.
    c := json_populate_record(NULL::weir.call_end, ends -> 0);
    batch := ARRAY[c];
    ids := ARRAY[c.id];
    organizations := ARRAY[c.organization_id];
    models := ARRAY[c.served_model, c.model];
    oldest_book := c.book_number;
    has_stream := c.streamed;
    has_key := c.key IS NOT NULL;
    has_answer := c.answer_id IS NOT NULL;
  ELSE
    SELECT
        array_agg(d.x), array_agg((d.x).id), array_agg(DISTINCT (d.x).organization_id),
        array_agg(DISTINCT (d.x).served_model) || array_agg(DISTINCT (d.x).model), min((d.x).book_number),
        bool_or((d.x).streamed), bool_or((d.x).key IS NOT NULL), bool_or((d.x).answer_id IS NOT NULL)
      INTO
        batch, ids, organizations,
        models, oldest_book,
        has_stream, has_key, has_answer
      FROM (
        SELECT DISTINCT ON (e.id) e AS x
        FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
        ORDER BY e.id) AS d;
    IF batch IS NULL THEN RETURN; END IF;
  END IF;

  -- 2. No budget and no price changes until the end of this transaction. A call with a price that has changed since it
  -- was priced is left out, and the caller prices it again.
  is_shared := weir.share_budgets(organizations) AND weir.share_prices(models);
  SELECT max(v.number)
    INTO newest_book
    FROM price_versions AS v
    WHERE v.model = ANY (models);
  IF newest_book > oldest_book THEN
    SELECT array_agg(DISTINCT x.id)
      INTO stale
      FROM unnest(batch) AS x
      JOIN price_versions AS v
        ON v.model IN (x.served_model, x.model) AND v.number > x.book_number;
  END IF;
  IF stale IS NOT NULL THEN
    SELECT array_agg(x ORDER BY x.id), array_agg(x.id ORDER BY x.id)
      INTO batch, ids
      FROM unnest(batch) AS x
      WHERE NOT x.id = ANY (stale);
    IF batch IS NULL THEN RETURN; END IF;
  END IF;
  released := array_fill(NULL::numeric, ARRAY[cardinality(ids)]);
  held := array_fill(NULL::weir.held_on, ARRAY[cardinality(ids)]);
  lefts := released;
  left_percents := released;

  -- 3. Conversations and idempotency keys are locked, calls in flight end.
  IF has_answer THEN
    PERFORM
      FROM unnest(batch) AS x
      JOIN conversations AS v
        ON v.organization_id = x.organization_id AND v.id = x.conversation_id
      WHERE x.answer_id IS NOT NULL
      ORDER BY v.id
      FOR UPDATE OF v;
  END IF;
  IF has_key THEN
    PERFORM
      FROM unnest(batch) AS x
      JOIN idempotency_keys AS k
        ON k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
      WHERE x.key IS NOT NULL
      ORDER BY k.user_id, k.key
      FOR UPDATE OF k;
  END IF;
  IF is_single THEN
    DELETE FROM calls_in_flight AS f
      WHERE f.organization_id = c.organization_id AND f.id = c.id
      RETURNING
        coalesce(f.hold, 0) AS hold,
        f.budget_ids, f.budget_dates, f.budget_left, f.budget_left_percent
      INTO r;
    IF FOUND THEN
      released := ARRAY[r.hold];
      held := ARRAY[ROW(r.budget_ids, r.budget_dates)::weir.held_on];
      lefts := ARRAY[r.budget_left];
      left_percents := ARRAY[r.budget_left_percent];
    END IF;
  ELSE
    FOR r IN
      -- Arrays, and no join: what Postgres knows of this table's size is seldom true, and by it a join may go through
      -- all calls in flight.
      WITH locked AS (
        SELECT f.id
        FROM calls_in_flight AS f
        WHERE f.organization_id = ANY (organizations) AND f.id = ANY (ids)
        ORDER BY f.id
        FOR UPDATE)
      DELETE FROM calls_in_flight AS f
        WHERE f.organization_id = ANY (organizations) AND f.id = ANY (ARRAY(SELECT l.id FROM locked AS l))
      RETURNING
        array_position(ids, f.id) AS place,
        coalesce(f.hold, 0) AS hold,
        f.budget_ids, f.budget_dates, f.budget_left, f.budget_left_percent
    LOOP
      released[r.place] := r.hold;
      held[r.place] := ROW(r.budget_ids, r.budget_dates)::weir.held_on;
      lefts[r.place] := r.budget_left;
      left_percents[r.place] := r.budget_left_percent;
    END LOOP;
  END IF;

  -- 4. The usage rows. Their batch is marked first: the time is taken behind the lock on that table, so that a reader
  -- who has seen its writers end has seen everything that was settled until then.
  v_batch := nextval('weir.usage_batch_ids');
  IF is_single THEN
    INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
      VALUES (c.organization_id, v_batch, c.occurred_at, c.occurred_at, 1, weir.clock())
      RETURNING settled_at INTO v_at;
  ELSE
    WITH clock AS MATERIALIZED (
      SELECT weir.clock() AS at),
    made AS (
      INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
      SELECT
        x.organization_id, v_batch, min(x.occurred_at), max(x.occurred_at), count(*), (SELECT at FROM clock)
      FROM unnest(batch) AS x
      GROUP BY x.organization_id
      RETURNING settled_at)
    SELECT max(settled_at) INTO v_at FROM made;
  END IF;
  WITH gate AS (
    INSERT INTO llm_usage (
        organization_id, occurred_at, id,
        -- who asked, and for what
        user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed,
        -- who answered, and how it ended
        model, served_model, provider, deployment, service_tier, upstream, attempts,
        status, error_code, finish_reason,
        -- the tokens, each counted once, but that one-hour cache writes are also among the cache writes
        uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens,
        output_tokens, reasoning_tokens, usage_source, raw_usage,
        -- the money: the record of the price book, the cost, and the parts that it is the sum of; the proxy's own
        -- figure is for comparison only
        price_number, book_number,
        cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost,
        latency_ms, time_to_first_token_ms, omitted_messages,
        settled_at, batch_id,
        -- the period rows that it is booked on
        budget_ids, budget_dates,
        -- how it was asked
        door, operation, request_id, plan_id, session_id, end_user, tags, call_hash,
        -- what admission went by
        max_tokens, prompt_tokens_estimate, hold, budget_left, budget_left_percent,
        asked_input_tokens, reasoning_effort,
        -- how it was routed, and what the proxy's response cache has saved
        route_version, route_rule, route_flags, fallbacks, direct_reason, cache_use,
        cached_uncached_prompt_tokens, cached_cache_read_tokens,
        cached_cache_write_tokens, cached_cache_write_one_hour_tokens,
        cached_output_tokens, cached_reasoning_tokens)
    SELECT
      x.organization_id, x.occurred_at, x.id,
      x.user_id, x.token_id, x.project_id, x.conversation_id, x.agent, x.scenario, x.trace_id, x.streamed,
      x.model, x.served_model, x.provider, x.deployment, x.service_tier, x.upstream, x.attempts,
      x.status, x.error_code, x.finish_reason,
      x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens,
      x.output_tokens, x.reasoning_tokens, x.usage_source, x.raw_usage,
      x.price_number, coalesce(x.book_number, 0),
      x.cost, x.cost_input, x.cost_cache_read, x.cost_cache_write, x.cost_output, x.cost_reasoning, x.cost_request,
      x.proxy_cost,
      x.latency_ms, x.time_to_first_token_ms, x.omitted_messages,
      v_at, v_batch,
      -- As the row in flight had them; where that is gone, as the caller knows them.
      CASE
        WHEN released[x.ordinality] IS NULL THEN coalesce(x.budget_ids, '{}')
        ELSE (held[x.ordinality]).budget_ids
      END,
      CASE
        WHEN released[x.ordinality] IS NULL THEN coalesce(x.budget_dates, '{}')
        ELSE (held[x.ordinality]).budget_dates
      END,
      x.door, x.operation, x.request_id, x.plan_id, x.session_id, x.end_user, coalesce(x.tags, '{}'), x.call_hash,
      x.max_tokens, x.prompt_tokens_estimate, x.hold,
      coalesce(lefts[x.ordinality], x.budget_left), coalesce(left_percents[x.ordinality], x.budget_left_percent),
      x.asked_input_tokens, x.reasoning_effort,
      x.route_version, x.route_rule, coalesce(x.route_flags, '{}'),
      x.fallbacks, x.direct_reason, coalesce(x.cache_use, 'NO'),
      x.cached_uncached_prompt_tokens, x.cached_cache_read_tokens,
      x.cached_cache_write_tokens, x.cached_cache_write_one_hour_tokens,
      x.cached_output_tokens, x.cached_reasoning_tokens
    FROM unnest(batch) WITH ORDINALITY AS x
    ORDER BY x.ordinality
    ON CONFLICT (organization_id, occurred_at, id) DO NOTHING
    RETURNING id)
  SELECT coalesce(array_agg(id), '{}') INTO settled FROM gate;
  -- Mostly all of them: then no list is searched for each.
  is_all_new := cardinality(settled) = cardinality(ids);

  -- 5. The period rows, unless no budget applied. To be read from the inside: what each call brings, then the sum by
  -- the set of period rows, of which there are few (most of the sum is made there), then the sum for each period row.
  IF NOT is_single OR coalesce((held[1]).budget_ids, c.budget_ids) <> '{}' THEN
    SELECT array_agg(b ORDER BY b.budget_id, b.starts_on)
    INTO bookings
    FROM (
      SELECT
        w.org AS organization_id, t.budget_id, t.starts_on,
        sum(w.spent) AS spent, sum(w.released) AS released, sum(w.excess) AS excess
      FROM (
        SELECT
          y.org, y.on_budgets, y.on_dates,
          sum(y.spent) AS spent, sum(y.released) AS released,
          -- Call by call: what another call has left of its reservation does not make up for it.
          sum(greatest(y.spent - y.released, 0)) AS excess
        FROM (
          SELECT
            x.organization_id AS org,
            -- A call that was settled before is booked nowhere again; a reservation that is still there is released.
            CASE WHEN is_all_new OR x.id = ANY (settled) THEN coalesce(x.cost, 0) ELSE 0 END AS spent,
            coalesce(released[x.ordinality], 0) AS released,
            -- The same period rows as in the usage row.
            CASE WHEN released[x.ordinality] IS NULL THEN x.budget_ids ELSE (held[x.ordinality]).budget_ids END
              AS on_budgets,
            CASE WHEN released[x.ordinality] IS NULL THEN x.budget_dates ELSE (held[x.ordinality]).budget_dates END
              AS on_dates
          FROM unnest(batch) WITH ORDINALITY AS x) AS y
        GROUP BY y.org, y.on_budgets, y.on_dates) AS w
      CROSS JOIN LATERAL unnest(w.on_budgets, w.on_dates) AS t(budget_id, starts_on)
      GROUP BY w.org, t.budget_id, t.starts_on) AS b;
    IF bookings IS NOT NULL THEN
      waited := weir.lock_periods(bookings);
      alerted := weir.book(bookings);
    END IF;
  END IF;

  -- 6. What hangs on the call: its key, its answer, its checkpoints.
  IF has_key THEN
    -- A repetition gets the stored answer; without one the key is free again.
    UPDATE idempotency_keys AS k SET stored = x.stored, expires_at = v_expires_at
      FROM unnest(batch) AS x
      WHERE x.stored IS NOT NULL
        AND (is_all_new OR x.id = ANY (settled))
        AND k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
        AND k.call_id = x.id;
    DELETE FROM idempotency_keys AS k
      USING unnest(batch) AS x
      WHERE x.key IS NOT NULL AND x.stored IS NULL
        AND (is_all_new OR x.id = ANY (settled))
        AND k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
        AND k.call_id = x.id;
  END IF;
  IF has_answer THEN
    FOR r IN
      SELECT x.*
      FROM unnest(batch) AS x
      JOIN conversations AS v
        ON v.organization_id = x.organization_id AND v.id = x.conversation_id
      WHERE x.answer_id IS NOT NULL
        AND (is_all_new OR x.id = ANY (settled))
      ORDER BY x.occurred_at, x.id
    LOOP
      -- Only where nobody went on from elsewhere meanwhile does the answer become the conversation's head. Else
      -- (NOT FOUND) it is kept as superseded.
      UPDATE conversations AS v SET head_id = r.answer_id, updated_at = v_at
        WHERE v.organization_id = r.organization_id AND v.id = r.conversation_id
          AND v.head_id = r.question_id;
      INSERT INTO messages (
          organization_id, id, conversation_id, parent_id, position,
          role, content, reasoning, tool_calls,
          complete, superseded, call_id)
        SELECT
          r.organization_id, r.answer_id, r.conversation_id, r.question_id, coalesce(max(m.position), 0) + 1,
          'ASSISTANT', r.content, r.reasoning, r.tool_calls,
          r.complete, NOT FOUND, r.id
        FROM messages AS m
        WHERE m.organization_id = r.organization_id AND m.conversation_id = r.conversation_id;
    END LOOP;
  END IF;
  IF has_stream THEN
    -- Those of a lost call stay for its subscribers; recovery removes them later.
    DELETE FROM call_checkpoints AS p
      USING unnest(batch) AS x
      WHERE x.streamed AND x.status <> 'LOST'
        AND (is_all_new OR x.id = ANY (settled))
        AND p.organization_id = x.organization_id AND p.call_id = x.id;
  END IF;
END $$;
