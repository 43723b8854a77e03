-- Corrects settled calls by what became known after their settlement, from the proxy's records for example.
--
-- What happens to a cent: nothing that was booked is changed. Each correction appends two usage rows at the time of the
-- call: the reversal of what stands, with its figures negated, and what is true; none where nothing differs. Each
-- period row that covers the call gets the difference of the two costs (weir.book).
--
-- Takes the ends of calls as JSON (weir.call_end), as they should have been, and why ("reason").
--
-- Gives the ids of the calls that were corrected, and whether budgets have new alerts.
-- Raises WP001, with nothing done, where the price book is newer than the one that priced them; lock_not_available
-- (55P03) while a budget of one of the organisations is being changed, or a price of one of the models recorded.
--
-- Locks, in the order of weir.admit: the organisations' and then the models' advisory locks (shared, weir.share_budgets
-- and weir.share_prices), idempotency keys, the usage rows of the calls, period rows (weir.lock_periods), alerts
-- (weir.make_alerts). They are held until the end of the transaction.
CREATE OR REPLACE FUNCTION weir.correct(
    ends json, reason text,
    OUT corrected text[], OUT alerted boolean)
  LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  -- the call as it should have been; its row that stands; what that costs by the price book of today
  x weir.call_end;
  u llm_usage;
  was weir.cost_parts;

  -- the models of the calls, before and after the correction; which correction of the call this is
  models text[];
  step integer;

  -- the newest record of the price book: of the models of these calls nothing newer is there while the transaction
  -- holds them
  v_book bigint;

  -- the batch of the two usage rows, and the time at which they are settled
  v_batch bigint;
  v_at timestamptz;

  -- the period rows that cover the call, side by side; what is added to them, for each call and in sum
  on_ids text[];
  on_dates date[];
  bookings weir.booking[] := '{}';
  total weir.booking[];

  is_shared boolean;
  waited interval;
BEGIN
  corrected := '{}';
  alerted := false;

  -- 1. No budget and no price changes until the end of this transaction.
  PERFORM weir.share_budgets(array_agg(DISTINCT e.organization_id))
    FROM json_populate_recordset(NULL::weir.call_end, ends) AS e;
  SELECT array_agg(DISTINCT m)
    INTO models
    FROM (
      SELECT unnest(ARRAY[e.served_model, e.model]) AS m
      FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
      UNION
      SELECT l.served_model
      FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
      JOIN llm_usage AS l
        ON l.organization_id = e.organization_id AND l.occurred_at = e.occurred_at
        AND coalesce(l.corrects_id, l.id) = e.id) AS known;
  is_shared := weir.share_prices(models);
  IF EXISTS (
    SELECT FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
    JOIN price_versions AS v
      ON v.model IN (e.served_model, e.model) AND v.number > e.book_number) THEN
    RAISE EXCEPTION 'the price book has changed' USING ERRCODE = 'WP001';
  END IF;
  SELECT coalesce(max(number), 0) INTO v_book FROM model_prices;

  -- 2. Idempotency keys and the calls are locked.
  PERFORM
    FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
    JOIN idempotency_keys AS k
      ON k.organization_id = e.organization_id AND k.user_id = e.user_id AND k.key = e.key
    WHERE e.stored IS NOT NULL
    ORDER BY k.user_id, k.key
    FOR UPDATE OF k;
  -- Another correction of one of these calls waits here, and then sees what it was corrected to.
  PERFORM
    FROM json_populate_recordset(NULL::weir.call_end, ends) AS e
    JOIN llm_usage AS l
      ON l.organization_id = e.organization_id AND l.occurred_at = e.occurred_at AND l.id = e.id
    ORDER BY l.organization_id, l.occurred_at, l.id
    FOR NO KEY UPDATE OF l;

  -- 3. The usage rows, call by call. Two of one call come in their order: the later one stands.
  FOR x IN
    SELECT (t.e).*
    FROM (
      SELECT e, row_number() OVER () AS nr
      FROM json_populate_recordset(NULL::weir.call_end, ends) AS e) AS t
    ORDER BY (t.e).organization_id, (t.e).occurred_at, (t.e).id, t.nr
  LOOP
    -- What stands: the call, or its last correction.
    SELECT l.*
      INTO u
      FROM llm_usage AS l
      WHERE l.organization_id = x.organization_id AND l.occurred_at = x.occurred_at
        AND coalesce(l.corrects_id, l.id) = x.id
        AND l.kind <> 'REVERSAL'
      ORDER BY l.correction DESC
      LIMIT 1;
    CONTINUE WHEN u.id IS NULL;
    IF NOT u.served_model = ANY (models) THEN
      RAISE EXCEPTION 'a call was corrected to another model meanwhile' USING ERRCODE = 'WP001';
    END IF;
    -- What the provider said stands, also where it was said while an estimate was being looked up; so does an answer of
    -- the proxy's cache.
    CONTINUE WHEN reason IN ('RECONCILIATION', 'SPEND_RECORD') AND u.usage_source IN ('PROVIDER', 'CACHE');
    was := weir.cost_as_of(
      ROW(
        u.organization_id, u.occurred_at, u.served_model, u.deployment, u.service_tier,
        u.book_number, u.usage_source, u.sign,
        u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens,
        u.output_tokens, u.reasoning_tokens,
        u.price_number,
        u.cost, u.cost_input, u.cost_cache_read, u.cost_cache_write, u.cost_output, u.cost_reasoning, u.cost_request
      )::weir.priced_call,
      NULL);
    -- Priced by the model that was asked for, since the one that served had no price: said once more, it stands,
    -- whatever the asked one costs by now.
    CONTINUE WHEN was.price_number = u.price_number
      AND EXISTS (SELECT FROM model_prices AS m WHERE m.number = u.price_number AND m.model <> u.served_model)
      AND (
        u.status, u.served_model, u.usage_source,
        u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens,
        u.output_tokens, u.reasoning_tokens)
      IS NOT DISTINCT FROM (
        x.status, x.served_model, x.usage_source,
        x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens,
        x.output_tokens, x.reasoning_tokens);
    -- Nothing differs, also not the cost.
    CONTINUE WHEN (
        u.status, u.served_model, u.usage_source,
        u.uncached_prompt_tokens, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_one_hour_tokens,
        u.output_tokens, u.reasoning_tokens, was.cost)
      IS NOT DISTINCT FROM (
        x.status, x.served_model, x.usage_source,
        x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens,
        x.output_tokens, x.reasoning_tokens, x.cost);
    step := u.correction + 1;
    -- Every period row that covers the call: also those of budgets that were filled in behind its settlement, with what
    -- stood then.
    SELECT
        coalesce(array_agg(p.budget_id ORDER BY p.budget_id, p.starts_on), '{}'),
        coalesce(array_agg(p.starts_on ORDER BY p.budget_id, p.starts_on), '{}')
      INTO on_ids, on_dates
      FROM budgets AS b
      JOIN budget_periods AS p
        ON p.organization_id = b.organization_id AND p.budget_id = b.id
      WHERE b.organization_id = u.organization_id
        AND b.subject_id IN (u.organization_id, u.project_id, u.user_id, u.token_id)
        AND p.starts_at <= u.occurred_at AND p.ends_at > u.occurred_at;
    -- As in weir.settle: the time is taken behind the lock on the table.
    v_batch := nextval('weir.usage_batch_ids');
    LOCK TABLE usage_batches IN ROW EXCLUSIVE MODE;
    v_at := weir.clock();
    INSERT INTO usage_batches (organization_id, id, from_at, to_at, rows, settled_at)
      VALUES (u.organization_id, v_batch, u.occurred_at, u.occurred_at, 2, v_at);

    -- The reversal: what stands, with its tokens and its costs negated. "cost" is by the prices of today, since price
    -- changes have adjusted the call to them in every report; "budget_cost" is what budgets were charged, and get back.
    INSERT INTO llm_usage (
        organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason,
        user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed,
        model, served_model, provider, deployment, service_tier, upstream, attempts,
        status, error_code, finish_reason,
        uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens,
        output_tokens, reasoning_tokens, usage_source, raw_usage,
        price_number, book_number, budget_cost,
        cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost,
        latency_ms, time_to_first_token_ms, omitted_messages,
        settled_at, batch_id, budget_ids, budget_dates,
        door, operation, request_id, plan_id, session_id, end_user, tags, call_hash,
        max_tokens, prompt_tokens_estimate, hold, budget_left, budget_left_percent,
        asked_input_tokens, reasoning_effort,
        route_version, route_rule, route_flags, fallbacks, direct_reason, cache_use,
        cached_uncached_prompt_tokens, cached_cache_read_tokens,
        cached_cache_write_tokens, cached_cache_write_one_hour_tokens,
        cached_output_tokens, cached_reasoning_tokens)
      SELECT
        u.organization_id, u.occurred_at, x.id || '~' || step || 'r', 'REVERSAL', x.id, step, reason,
        u.user_id, u.token_id, u.project_id, u.conversation_id, u.agent, u.scenario, u.trace_id, u.streamed,
        u.model, u.served_model, u.provider, u.deployment, u.service_tier, u.upstream, u.attempts,
        u.status, u.error_code, u.finish_reason,
        -u.uncached_prompt_tokens, -u.cache_read_tokens, -u.cache_write_tokens, -u.cache_write_one_hour_tokens,
        -u.output_tokens, -u.reasoning_tokens, u.usage_source, NULL,
        was.price_number, v_book, -u.cost,
        -was.cost, -was.cost_input, -was.cost_cache_read, -was.cost_cache_write,
        -was.cost_output, -was.cost_reasoning, -was.cost_request, -u.proxy_cost,
        u.latency_ms, u.time_to_first_token_ms, u.omitted_messages,
        v_at, v_batch, on_ids, on_dates,
        u.door, u.operation, u.request_id, u.plan_id, u.session_id, u.end_user, u.tags, u.call_hash,
        u.max_tokens, u.prompt_tokens_estimate, u.hold, u.budget_left, u.budget_left_percent,
        u.asked_input_tokens, u.reasoning_effort,
        u.route_version, u.route_rule, u.route_flags, u.fallbacks, u.direct_reason, u.cache_use,
        u.cached_uncached_prompt_tokens, u.cached_cache_read_tokens,
        u.cached_cache_write_tokens, u.cached_cache_write_one_hour_tokens,
        u.cached_output_tokens, u.cached_reasoning_tokens;

    -- The correction: what is true. What only admission or the running call knew is taken from the row that stands.
    INSERT INTO llm_usage (
        organization_id, occurred_at, id, kind, corrects_id, correction, correction_reason,
        user_id, token_id, project_id, conversation_id, agent, scenario, trace_id, streamed,
        model, served_model, provider, deployment, service_tier, upstream, attempts,
        status, error_code, finish_reason,
        uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens,
        output_tokens, reasoning_tokens, usage_source, raw_usage,
        price_number, book_number,
        cost, cost_input, cost_cache_read, cost_cache_write, cost_output, cost_reasoning, cost_request, proxy_cost,
        latency_ms, time_to_first_token_ms, omitted_messages,
        settled_at, batch_id, budget_ids, budget_dates,
        door, operation, request_id, plan_id, session_id, end_user, tags, call_hash,
        max_tokens, prompt_tokens_estimate, hold, budget_left, budget_left_percent,
        asked_input_tokens, reasoning_effort,
        route_version, route_rule, route_flags, fallbacks, direct_reason, cache_use,
        cached_uncached_prompt_tokens, cached_cache_read_tokens,
        cached_cache_write_tokens, cached_cache_write_one_hour_tokens,
        cached_output_tokens, cached_reasoning_tokens)
      SELECT
        x.organization_id, x.occurred_at, x.id || '~' || step, 'CORRECTION', x.id, step, reason,
        x.user_id, x.token_id, x.project_id, x.conversation_id, x.agent, x.scenario, x.trace_id, x.streamed,
        x.model, x.served_model, x.provider, x.deployment, x.service_tier, x.upstream, x.attempts,
        x.status, x.error_code, x.finish_reason,
        x.uncached_prompt_tokens, x.cache_read_tokens, x.cache_write_tokens, x.cache_write_one_hour_tokens,
        x.output_tokens, x.reasoning_tokens, x.usage_source, x.raw_usage,
        x.price_number, coalesce(x.book_number, v_book),
        x.cost, x.cost_input, x.cost_cache_read, x.cost_cache_write, x.cost_output, x.cost_reasoning, x.cost_request,
        x.proxy_cost,
        coalesce(x.latency_ms, u.latency_ms), coalesce(x.time_to_first_token_ms, u.time_to_first_token_ms),
        x.omitted_messages,
        v_at, v_batch, on_ids, on_dates,
        u.door, u.operation, u.request_id, u.plan_id, u.session_id, u.end_user, u.tags, u.call_hash,
        u.max_tokens, u.prompt_tokens_estimate, u.hold, u.budget_left, u.budget_left_percent,
        u.asked_input_tokens, u.reasoning_effort,
        u.route_version, u.route_rule, u.route_flags,
        coalesce(x.fallbacks, u.fallbacks),
        coalesce(x.direct_reason, u.direct_reason),
        coalesce(x.cache_use, u.cache_use),
        coalesce(x.cached_uncached_prompt_tokens, u.cached_uncached_prompt_tokens),
        coalesce(x.cached_cache_read_tokens, u.cached_cache_read_tokens),
        coalesce(x.cached_cache_write_tokens, u.cached_cache_write_tokens),
        coalesce(x.cached_cache_write_one_hour_tokens, u.cached_cache_write_one_hour_tokens),
        coalesce(x.cached_output_tokens, u.cached_output_tokens),
        coalesce(x.cached_reasoning_tokens, u.cached_reasoning_tokens);

    -- Budgets were charged u.cost, whatever the price is today: they get the difference to that.
    bookings := bookings || ARRAY(
      SELECT ROW(u.organization_id, t.id, t.day, coalesce(x.cost, 0) - coalesce(u.cost, 0), 0, 0)::weir.booking
      FROM unnest(on_ids, on_dates) AS t(id, day));
    -- A repetition is answered with what is known now.
    UPDATE idempotency_keys AS k SET stored = x.stored
      WHERE x.stored IS NOT NULL
        AND k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
        AND k.call_id = x.id;
    corrected := corrected || x.id;
  END LOOP;

  -- 4. The period rows. Once, behind all usage rows: period rows are locked in their order, and after those. Nothing is
  -- reserved for a correction: all that it adds is excess (weir.book).
  SELECT array_agg(
      ROW(t.organization_id, t.budget_id, t.starts_on, t.spent, 0, t.excess)::weir.booking
      ORDER BY t.budget_id, t.starts_on)
    INTO total
    FROM (
      SELECT
        d.organization_id, d.budget_id, d.starts_on,
        sum(d.spent) AS spent, greatest(sum(d.spent), 0) AS excess
      FROM unnest(bookings) AS d
      GROUP BY d.organization_id, d.budget_id, d.starts_on) AS t;
  IF total IS NOT NULL THEN
    waited := weir.lock_periods(total);
    alerted := weir.book(total);
  END IF;
END $$;
