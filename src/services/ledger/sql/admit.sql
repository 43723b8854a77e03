-- Admits calls before they are sent: one round trip, one transaction for a group of calls.
--
-- What happens to a cent: each call brings its worst case in dollars ("hold"). A budget's room in its current period is
-- limit - spent - held. Where the room of every budget that applies (of the organisation, the project, the user and the
-- token) takes the hold, it is added to "held" of each of these periods, and the call is written to calls_in_flight
-- with the hold and the periods. Where one has too little room, none is charged, and the call leaves nothing behind.
-- weir.settle takes the hold back and books the cost.
--
-- Takes the calls of the group as JSON (weir.new_call), numbered by "nr" (1, 2, 3 …).
--
-- Gives one object for the whole group, since taking rows apart costs as much as admitting a call:
--   occurredAt       the time of the calls that were admitted now
--   budgets, dates   the period rows that apply to any of the calls, side by side; null: no budget applies
--   fates            by nr, what became of the call:
--                      ADMITTED         reserved and written down
--                      BUDGET_EXCEEDED  does not fit; the details say into which budget
--                      UNPRICED         a budget applies, but no price is known
--                      REPLAY           its idempotency key was used before, and the stored answer is in the details
--                      RUNNING          the call that used the key first still runs
--                      CONFLICT         the key was used for another input
--                      NO_CONVERSATION  the conversation does not exist
--                      ENDED            it was asked for before, and was ended by somebody else meanwhile
--                      AGAIN            another call of the group goes first: ask once more
--   places           by nr, on which of the period rows the call is reserved (their numbers from 1); null: on none
--   details          by nr, what the fate needs; of an ADMITTED call only where an earlier try had been carried out
--   waitedMs         how long the group waited for period rows; null: no budget applies
-- Raises lock_not_available (55P03) while a budget of one of the organisations is being changed.
--
-- Locks: admission and settlement take theirs in one order, each kind sorted, so that they never wait for each other in
-- a circle: the organisations' advisory locks (shared, weir.share_budgets), conversations, idempotency keys, calls in
-- flight, usage rows, period rows, alerts. They are held until the end of the transaction.
CREATE OR REPLACE FUNCTION weir.admit(calls json) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
  v_at timestamptz := weir.now();

  -- the calls in the order of their numbers, their ids, and the organisations, each once
  batch weir.new_call[];
  ids text[];
  organizations text[];

  -- the answer, by the number of the call
  fates text[];
  details json[];
  places_held text[];

  -- what calls_in_flight keeps of the budgets, by the number of the call: the periods that hold the reservation, and
  -- the smallest of their rooms before this call, in dollars and in percent of that budget's limit
  held weir.held_on[];
  lefts numeric[];
  left_percents numeric[];

  -- the call whose turn it is; a row of a query; the conversations that a call of this group has a question for
  c weir.new_call;
  r record;
  seen text[] := '{}';

  -- which steps are needed at all: most groups need few of them
  is_single boolean; is_shared boolean; has_again boolean; has_key boolean; has_question boolean;

  -- the period rows that apply to any call of the group, side by side, in the order organisation, project, user, token;
  -- with their limits, and their rooms before the group and after the calls that were admitted so far
  room_organizations text[]; room_budgets text[]; room_dates date[]; room_subjects text[];
  limits numeric[]; rooms_before numeric[]; rooms numeric[];
  is_missing boolean;
  -- by subject (the id of an organisation, a project, a user or a token): the numbers of its period rows
  places jsonb;

  -- idempotency keys: how many this group has newly made, and the rows that were there before
  claimed bigint; taken idempotency_keys[];

  -- the budgets of the call whose turn it is: its subjects, and the numbers of its period rows ("mine"); among these
  -- the one with the smallest room, and the first one with too little room
  subjects text[]; subjects_before text[]; my_places text; my_periods weir.held_on;
  mine int[]; place int; tightest int; refused_by int; room numeric; ids_held text[]; dates_held date[];

  -- the wait for period rows
  lock_asked_at timestamptz; waited interval;

  -- a conversation's head, and the highest position of its messages; the details of a refusal
  head text; last_position bigint; one_detail json;
BEGIN
  is_single := json_array_length(calls) = 1;
  IF is_single THEN
    -- The short way of a group of one, here and below: nothing is sorted, gathered or looked up that is at hand.
    c := json_populate_record(NULL::weir.new_call, calls -> 0);
    batch := ARRAY[c];
    ids := ARRAY[c.id];
    organizations := ARRAY[c.organization_id];
    has_again := c.again;
    has_key := c.key IS NOT NULL;
    has_question := c.messages IS NOT NULL;
  ELSE
    SELECT
        array_agg(d.x), array_agg((d.x).id), array_agg(DISTINCT (d.x).organization_id),
        bool_or((d.x).again), bool_or((d.x).key IS NOT NULL), bool_or((d.x).messages IS NOT NULL)
      INTO
        batch, ids, organizations,
        has_again, has_key, has_question
      FROM (SELECT e AS x FROM json_populate_recordset(NULL::weir.new_call, calls) AS e ORDER BY e.nr) AS d;
  END IF;
  fates := array_fill(NULL::text, ARRAY[cardinality(ids)]);
  details := array_fill(NULL::json, ARRAY[cardinality(ids)]);
  places_held := array_fill(NULL::text, ARRAY[cardinality(ids)]);
  held := array_fill(NULL::weir.held_on, ARRAY[cardinality(ids)]);
  lefts := array_fill(NULL::numeric, ARRAY[cardinality(ids)]);
  left_percents := lefts;
  -- An assignment, since a function is called faster by it than by a query.
  is_shared := weir.share_budgets(organizations);

  -- 1. Calls that were asked for before, since the answer did not arrive: the first try may have been carried out, and
  -- nothing is reserved twice.
  IF has_again THEN
    FOR r IN
      SELECT x.nr, f.occurred_at, f.budget_ids, f.budget_dates, u.id IS NOT NULL AS ended
      FROM unnest(batch) AS x
      LEFT JOIN calls_in_flight AS f
        ON f.organization_id = x.organization_id AND f.id = x.id
      LEFT JOIN llm_usage AS u
        ON u.organization_id = x.organization_id AND u.id = x.id
      WHERE x.again
        AND (f.id IS NOT NULL OR u.id IS NOT NULL)
    LOOP
      fates[r.nr] := CASE WHEN r.ended THEN 'ENDED' ELSE 'ADMITTED' END;
      details[r.nr] := json_build_object(
        'occurredAt', r.occurred_at::text,
        'budgetIds', r.budget_ids,
        'budgetDates', r.budget_dates);
    END LOOP;
  END IF;

  -- 2. Conversations: one question at a time.
  IF has_question THEN
    PERFORM
      FROM unnest(batch) AS x
      JOIN conversations AS v
        ON v.organization_id = x.organization_id AND v.id = x.conversation_id
      WHERE x.messages IS NOT NULL
      ORDER BY v.id
      FOR UPDATE OF v;
    FOR r IN
      SELECT x.nr, x.conversation_id, v.id IS NOT NULL AS found
      FROM unnest(batch) AS x
      LEFT JOIN conversations AS v
        ON v.organization_id = x.organization_id AND v.id = x.conversation_id
      WHERE x.messages IS NOT NULL
      ORDER BY x.nr
    LOOP
      CONTINUE WHEN fates[r.nr] IS NOT NULL;
      IF NOT r.found THEN
        fates[r.nr] := 'NO_CONVERSATION';
      ELSIF r.conversation_id = ANY (seen) THEN
        -- The later one has to see the head that the earlier one makes.
        fates[r.nr] := 'AGAIN';
      ELSE
        seen := seen || r.conversation_id;
      END IF;
    END LOOP;
  END IF;

  -- 3. Idempotency keys: the first call with a key runs, its repetitions get its answer and cost nothing.
  IF has_key THEN
    -- DO UPDATE, because a key that another replica claims at this moment is waited for and then seen; DO NOTHING would
    -- show neither claim nor winner. A key that has expired is claimed like a new one.
    WITH claimed AS (
      INSERT INTO idempotency_keys AS k (organization_id, user_id, key, input_hash, call_id, first_used_at)
      SELECT DISTINCT ON (x.user_id, x.key)
        x.organization_id, x.user_id, x.key, decode(x.input_hash, 'hex'), x.id, v_at
      FROM unnest(batch) AS x
      WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL
      ORDER BY x.user_id, x.key, x.nr
      ON CONFLICT (organization_id, user_id, key) DO UPDATE SET
        call_id = CASE WHEN k.expires_at <= v_at THEN excluded.call_id ELSE k.call_id END,
        input_hash = CASE WHEN k.expires_at <= v_at THEN excluded.input_hash ELSE k.input_hash END,
        first_used_at = CASE WHEN k.expires_at <= v_at THEN excluded.first_used_at ELSE k.first_used_at END,
        stored = CASE WHEN k.expires_at <= v_at THEN NULL ELSE k.stored END,
        expires_at = CASE WHEN k.expires_at <= v_at THEN NULL ELSE k.expires_at END
      -- Whether the row is new: nobody has locked or updated it.
      RETURNING k.xmax = 0 AS is_new, ROW(k.*)::idempotency_keys AS key)
    SELECT count(*) FILTER (WHERE is_new), array_agg(key) FILTER (WHERE NOT is_new)
      INTO claimed, taken
      FROM claimed;
    -- Mostly all keys are new, and then there is nothing to look at.
    IF claimed < (SELECT count(*) FROM unnest(batch) AS x WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL) THEN
      FOR r IN
        SELECT
          x.nr, x.id, decode(x.input_hash, 'hex') AS hash,
          k.*,
          row_number() OVER (PARTITION BY x.user_id, x.key ORDER BY x.nr) AS turn
        FROM unnest(batch) AS x
        LEFT JOIN unnest(taken) AS k
          ON k.user_id = x.user_id AND k.key = x.key
        WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL
      LOOP
        IF r.call_id IS NULL THEN
          -- The key is new. The first call of the group with it may still be refused, and then the key is free.
          IF r.turn > 1 THEN fates[r.nr] := 'AGAIN'; END IF;
        ELSIF r.call_id = r.id THEN
          -- Its own: claimed by an earlier try, or just now, since it had expired.
          NULL;
        ELSIF r.call_id = ANY (ids) THEN
          -- Just now claimed by another call of this group.
          fates[r.nr] := 'AGAIN';
        ELSIF r.input_hash <> r.hash THEN
          fates[r.nr] := 'CONFLICT';
          details[r.nr] := json_build_object('firstUsedAt', r.first_used_at);
        ELSIF r.expires_at IS NULL THEN
          fates[r.nr] := 'RUNNING';
          details[r.nr] := json_build_object('callId', r.call_id);
        ELSE
          fates[r.nr] := 'REPLAY';
          details[r.nr] := json_build_object('callId', r.call_id, 'stored', r.stored);
        END IF;
      END LOOP;
    END IF;
  END IF;

  -- 4. Budgets that apply, each with its current period. A period row that is not there yet is made first, and read by
  -- a later statement: a replica that waited for another one's insert sees the row only there.
  SELECT
      array_agg(b.organization_id ORDER BY b.id), array_agg(b.id ORDER BY b.id), array_agg(d.day ORDER BY b.id),
      coalesce(bool_or(p.budget_id IS NULL), false)
    INTO
      room_organizations, room_budgets, room_dates,
      is_missing
    FROM (
      SELECT DISTINCT x.organization_id AS org, s.id AS subject
      FROM unnest(batch) AS x, unnest(ARRAY[x.organization_id, x.project_id, x.user_id, x.token_id]) AS s(id)
      WHERE s.id IS NOT NULL) AS q
    JOIN budgets AS b
      ON b.organization_id = q.org AND b.subject_id = q.subject
    CROSS JOIN LATERAL (
      SELECT weir.period_start(b.period, v_at AT TIME ZONE b.time_zone) AS day) AS d
    LEFT JOIN budget_periods AS p
      ON p.organization_id = b.organization_id AND p.budget_id = b.id AND p.starts_on = d.day;
  IF room_budgets IS NOT NULL THEN
    IF is_missing THEN
      INSERT INTO budget_periods (
          organization_id, budget_id, starts_on,
          starts_at, ends_at,
          limit_amount, soft_limit)
        SELECT
          b.organization_id, b.id, t.day,
          weir.local_midnight(t.day, b.time_zone),
          weir.local_midnight(weir.period_end(b.period, t.day), b.time_zone),
          b.limit_amount, b.soft_limit
        FROM unnest(room_organizations, room_budgets, room_dates) AS t(org, id, day)
        JOIN budgets AS b
          ON b.organization_id = t.org AND b.id = t.id
        WHERE NOT EXISTS (
          SELECT FROM budget_periods AS p
          WHERE p.organization_id = t.org AND p.budget_id = t.id AND p.starts_on = t.day)
        ORDER BY b.id, t.day
        ON CONFLICT (organization_id, budget_id, starts_on) DO NOTHING;
    END IF;
    -- From here to the commit nobody else reserves or books on these rows: what is compared is what is charged.
    lock_asked_at := clock_timestamp();
    PERFORM
      FROM unnest(room_organizations, room_budgets, room_dates) AS t(org, id, day)
      JOIN budget_periods AS p
        ON p.organization_id = t.org AND p.budget_id = t.id AND p.starts_on = t.day
      ORDER BY p.budget_id, p.starts_on
      FOR NO KEY UPDATE OF p;
    waited := clock_timestamp() - lock_asked_at;
    IF has_again THEN
      -- As in 1: the first try may have waited for these locks too, and have had them first.
      FOR r IN
        SELECT x.nr, f.occurred_at, f.budget_ids, f.budget_dates, u.id IS NOT NULL AS ended
        FROM unnest(batch) AS x
        LEFT JOIN calls_in_flight AS f
          ON f.organization_id = x.organization_id AND f.id = x.id
        LEFT JOIN llm_usage AS u
          ON u.organization_id = x.organization_id AND u.id = x.id
        WHERE x.again
          AND fates[x.nr] IS NULL
          AND (f.id IS NOT NULL OR u.id IS NOT NULL)
      LOOP
        fates[r.nr] := CASE WHEN r.ended THEN 'ENDED' ELSE 'ADMITTED' END;
        details[r.nr] := json_build_object(
          'occurredAt', r.occurred_at::text,
          'budgetIds', r.budget_ids,
          'budgetDates', r.budget_dates);
      END LOOP;
    END IF;
    -- Limits are read behind the locks: one that was lowered while this waited counts.
    SELECT
        array_agg(w.org ORDER BY w.nr), array_agg(w.id ORDER BY w.nr), array_agg(w.day ORDER BY w.nr),
        array_agg(w.subject_id ORDER BY w.nr), array_agg(w.limit_amount ORDER BY w.nr), array_agg(w.room ORDER BY w.nr)
      INTO
        room_organizations, room_budgets, room_dates,
        room_subjects, limits, rooms
      FROM (
        SELECT
          t.org, b.id, t.day,
          b.subject_id, b.limit_amount,
          b.limit_amount - p.spent - p.held AS room,
          row_number() OVER (
            ORDER BY array_position(ARRAY['ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN'], b.scope), b.id) AS nr
        FROM unnest(room_organizations, room_budgets, room_dates) AS t(org, id, day)
        JOIN budgets AS b
          ON b.organization_id = t.org AND b.id = t.id
        JOIN budget_periods AS p
          ON p.organization_id = t.org AND p.budget_id = t.id AND p.starts_on = t.day) AS w;
    rooms_before := rooms;
    IF NOT is_single THEN
      SELECT jsonb_object_agg(subject_id, nrs)
        INTO places
        FROM (
          SELECT t.subject_id, array_agg(t.nr ORDER BY t.nr)::text AS nrs
          FROM unnest(room_subjects) WITH ORDINALITY AS t(subject_id, nr)
          GROUP BY t.subject_id) AS s;
    END IF;
  END IF;

  -- 5. Each call against the rooms, in the order of arrival: a big call that does not fit keeps no smaller one behind
  -- it from fitting.
  FOREACH c IN ARRAY batch LOOP
    CONTINUE WHEN fates[c.nr] IS NOT NULL;
    IF room_budgets IS NULL THEN fates[c.nr] := 'ADMITTED'; CONTINUE; END IF;
    -- Which period rows are this call's. Without a query, since this is done for every call, and once for calls in a
    -- row that have the same budgets.
    subjects := ARRAY[c.organization_id, c.project_id, c.user_id, c.token_id];
    IF subjects IS DISTINCT FROM subjects_before THEN
      subjects_before := subjects;
      mine := '{}';
      IF is_single THEN
        FOR place IN 1..cardinality(room_budgets) LOOP mine := mine || place; END LOOP;
      ELSE
        mine := coalesce((places ->> c.organization_id)::int[], '{}')
          || (places ->> c.project_id)::int[]
          || (places ->> c.user_id)::int[]
          || (places ->> c.token_id)::int[];
      END IF;
      my_places := mine::text;
      ids_held := '{}';
      dates_held := '{}';
      FOREACH place IN ARRAY mine LOOP
        ids_held := ids_held || room_budgets[place];
        dates_held := dates_held || room_dates[place];
      END LOOP;
      my_periods := ROW(ids_held, dates_held)::weir.held_on;
    END IF;
    IF mine = '{}' THEN fates[c.nr] := 'ADMITTED'; CONTINUE; END IF;
    IF c.hold IS NULL THEN fates[c.nr] := 'UNPRICED'; CONTINUE; END IF;

    refused_by := NULL;
    tightest := mine[1];
    FOREACH place IN ARRAY mine LOOP
      IF rooms[place] < c.hold THEN refused_by := place; EXIT; END IF;
      IF rooms[place] < rooms[tightest] THEN tightest := place; END IF;
    END LOOP;
    IF refused_by IS NULL THEN
      -- It fits everywhere, and takes its hold from every room.
      lefts[c.nr] := rooms[tightest];
      left_percents[c.nr] := round(100 * rooms[tightest] / nullif(limits[tightest], 0), 2);
      FOREACH place IN ARRAY mine LOOP
        rooms[place] := rooms[place] - c.hold;
      END LOOP;
      held[c.nr] := my_periods;
      places_held[c.nr] := my_places;
      fates[c.nr] := 'ADMITTED';
    ELSE
      -- It does not fit, and takes nothing. The caller learns the smallest room of its budgets, and which budget was
      -- the first that refused it.
      SELECT min(rooms[m]) INTO room FROM unnest(mine) AS m;
      fates[c.nr] := 'BUDGET_EXCEEDED';
      SELECT json_build_object(
          'room', greatest(room, 0)::text,
          -- Whether it would fit if nothing ran: then waiting for running calls may help.
          'onlyHeld', (
            SELECT bool_and(e.limit_amount - q.spent >= c.hold)
            FROM unnest(mine) AS m
            JOIN budgets AS e
              ON e.organization_id = c.organization_id AND e.id = room_budgets[m]
            JOIN budget_periods AS q
              ON q.organization_id = c.organization_id AND q.budget_id = e.id AND q.starts_on = room_dates[m]),
          -- "held" with what the calls before this one have reserved in this group.
          'budget', json_build_object(
            'id', b.id, 'organizationId', b.organization_id, 'scope', b.scope, 'subjectId', b.subject_id,
            'period', b.period, 'timeZone', b.time_zone, 'periodStart', p.starts_at, 'resetsAt', p.ends_at,
            'limit', b.limit_amount::text, 'softLimit', b.soft_limit::text, 'alertAtPercent', b.alert_at_percent,
            'planId', b.plan_id, 'byOperator', b.by_operator,
            'spent', p.spent::text, 'held', (b.limit_amount - p.spent - rooms[refused_by])::text,
            'remaining', greatest(rooms[refused_by], 0)::text, 'overage', p.overage::text))
        INTO one_detail
        FROM budgets AS b
        JOIN budget_periods AS p
          ON p.organization_id = b.organization_id AND p.budget_id = b.id AND p.starts_on = room_dates[refused_by]
        WHERE b.organization_id = c.organization_id AND b.id = room_budgets[refused_by];
      details[c.nr] := one_detail;
    END IF;
  END LOOP;

  -- 6. What was decided is written down. First the calls; those with details were written by an earlier try.
  INSERT INTO calls_in_flight (
      organization_id, id, occurred_at,
      user_id, token_id, project_id, conversation_id, question_id,
      agent, scenario, trace_id,
      model, upstream, streamed, max_tokens, prompt_tokens_estimate,
      owner, deadline_at, idempotency_key,
      hold, budget_ids, budget_dates, budget_left, budget_left_percent,
      door, operation, request_id, plan_id, session_id, end_user, tags, call_hash,
      asked_input_tokens, reasoning_effort,
      route_version, route_rule, route_flags)
    SELECT
      x.organization_id, x.id, v_at,
      x.user_id, x.token_id, x.project_id, x.conversation_id, x.question_id,
      x.agent, x.scenario, x.trace_id,
      x.model, x.upstream, x.streamed, x.max_tokens, x.prompt_tokens_estimate,
      x.owner, v_at + make_interval(secs => x.deadline_ms / 1000.0), x.key,
      x.hold, coalesce((held[x.nr]).budget_ids, '{}'), coalesce((held[x.nr]).budget_dates, '{}'),
      lefts[x.nr], left_percents[x.nr],
      x.door, x.operation, x.request_id, x.plan_id, x.session_id, x.end_user, coalesce(x.tags, '{}'), x.call_hash,
      x.asked_input_tokens, x.reasoning_effort,
      x.route_version, x.route_rule, coalesce(x.route_flags, '{}')
    FROM unnest(batch) AS x
    WHERE fates[x.nr] = 'ADMITTED' AND details[x.nr] IS NULL
    ORDER BY x.id;
  -- Then the money: each period row once, with what the group has taken of its room.
  IF room_budgets IS NOT NULL THEN
    UPDATE budget_periods AS p SET held = p.held + t.hold
      FROM (
        SELECT org, id, day, before - after AS hold
        FROM unnest(room_organizations, room_budgets, room_dates, rooms_before, rooms)
          AS u(org, id, day, before, after)) AS t
      WHERE t.hold <> 0
        AND p.organization_id = t.org AND p.budget_id = t.id AND p.starts_on = t.day;
  END IF;
  IF has_key THEN
    -- A call that was refused leaves its key free.
    DELETE FROM idempotency_keys AS k
      USING unnest(batch) AS x
      WHERE x.key IS NOT NULL
        AND fates[x.nr] IN ('BUDGET_EXCEEDED', 'UNPRICED')
        AND k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
        AND k.call_id = x.id;
    -- Claimed once more for a call whose end had freed the key meanwhile.
    DELETE FROM idempotency_keys AS k
      USING unnest(batch) AS x
      WHERE x.key IS NOT NULL
        AND fates[x.nr] = 'ENDED'
        AND k.organization_id = x.organization_id AND k.user_id = x.user_id AND k.key = x.key
        AND k.call_id = x.id AND k.expires_at IS NULL;
  END IF;
  -- The questions of conversations.
  IF has_question THEN
    FOREACH c IN ARRAY batch LOOP
      CONTINUE WHEN c.messages IS NULL OR fates[c.nr] <> 'ADMITTED' OR details[c.nr] IS NOT NULL;
      SELECT v.head_id
        INTO head
        FROM conversations AS v
        WHERE v.organization_id = c.organization_id AND v.id = c.conversation_id;
      -- The call goes on from another place than the head: the branch is another one now.
      IF head IS DISTINCT FROM c.parent_id THEN
        UPDATE messages AS m SET superseded = NOT (m.id = ANY (c.branch_ids))
          WHERE m.organization_id = c.organization_id AND m.conversation_id = c.conversation_id
            AND m.superseded = (m.id = ANY (c.branch_ids));
      END IF;
      SELECT coalesce(max(m.position), 0)
        INTO last_position
        FROM messages AS m
        WHERE m.organization_id = c.organization_id AND m.conversation_id = c.conversation_id;
      INSERT INTO messages (
          organization_id, id, conversation_id, parent_id, position,
          role, content, parts, tool_calls, tool_call_id, name)
        SELECT
          c.organization_id, m.id, c.conversation_id, m.parent_id, last_position + m.nr,
          m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name
        FROM ROWS FROM (
          json_to_recordset(c.messages) AS (
            id text, parent_id text,
            role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text))
          WITH ORDINALITY AS m(id, parent_id, role, content, parts, tool_calls, tool_call_id, name, nr);
      UPDATE conversations AS v SET head_id = c.question_id, updated_at = v_at
        WHERE v.organization_id = c.organization_id AND v.id = c.conversation_id;
    END LOOP;
  END IF;

  RETURN json_build_object(
    'occurredAt', v_at::text,
    'budgets', room_budgets, 'dates', room_dates,
    'fates', fates, 'places', places_held, 'details', details,
    'waitedMs', extract(epoch FROM waited) * 1000);
END $$;
