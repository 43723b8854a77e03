import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Admission as one function: one round trip, one transaction. Admission and settlement take their locks in one order, each kind sorted:
 * the organisations' advisory locks (shared), conversations, idempotency keys, calls in flight, usage rows, period rows, alerts.
 */
export class Admission20261121120100 implements MigrationInterface {
  name = 'Admission20261121120100';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(PERIODS);
    await runner.query(LOCKS);
    await runner.query(ADMIT);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const PERIODS = `
  -- The local date on which the period of a local time began. Weeks begin on Monday (ISO 8601).
  CREATE FUNCTION weir.period_start(period text, local timestamp) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE period WHEN 'DAY' THEN local::date WHEN 'WEEK' THEN date_trunc('week', local)::date ELSE date_trunc('month', local)::date END
  $$;
  -- The first local date of the next period.
  CREATE FUNCTION weir.period_end(period text, day date) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE period WHEN 'DAY' THEN day + 1 WHEN 'WEEK' THEN day + 7 ELSE (day + interval '1 month')::date END
  $$;
  -- The first moment of a local date. Where clocks go back over midnight the date begins twice, and Postgres means the second time
  -- (Havana, 2026-11-01); where they go forward over it, the date begins with the first hour that there is.
  CREATE FUNCTION weir.local_midnight(day date, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(t) FROM (SELECT (day::timestamp AT TIME ZONE zone) - back AS t FROM unnest(ARRAY[interval '0', '30 minutes', '1 hour', '2 hours']) AS back) AS tries
    WHERE (t AT TIME ZONE zone)::date >= day
  $$;
  -- An id as the application makes them: ten characters of time, sixteen random ones.
  CREATE FUNCTION weir.new_id(prefix text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT prefix || '_' || string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + digit, 1), '' ORDER BY place)
    FROM (
      SELECT place, (((extract(epoch FROM weir.now()) * 1000)::bigint >> (5 * (10 - place))) & 31)::int AS digit FROM generate_series(1, 10) AS place
      UNION ALL
      SELECT place + 11, get_byte(random, place) & 31 FROM (SELECT uuid_send(gen_random_uuid()) AS random) AS r, generate_series(0, 15) AS place
    ) AS digits
  $$;
`;

const LOCKS = `
  -- Whoever makes a budget, or moves its period, fills in what was spent and is held: meanwhile nothing of the organisation may be admitted or
  -- settled. Everything of the data path takes these locks shared; (2, 0) is for changes that touch many organisations. It does not wait for
  -- them: a group would wait with all of its organisations for one of them, and so would everything behind the group.
  CREATE FUNCTION weir.share_budgets(organization_ids text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    key integer;
  BEGIN
    IF pg_try_advisory_xact_lock_shared(2, 0) THEN
      FOR key IN SELECT DISTINCT hashtext(id) FROM unnest(organization_ids) AS id LOOP
        IF NOT pg_try_advisory_xact_lock_shared(1, key) THEN RAISE EXCEPTION 'a budget of the organisation is being made' USING ERRCODE = 'lock_not_available'; END IF;
      END LOOP;
    ELSE
      RAISE EXCEPTION 'the budgets of a plan are being made' USING ERRCODE = 'lock_not_available';
    END IF;
  END $$;
  CREATE FUNCTION weir.lock_budgets(organization_id text) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock_shared(2, 0);
    SELECT pg_advisory_xact_lock(1, hashtext(organization_id));
  $$;
`;

const ADMIT = `
  CREATE TYPE weir.new_call AS (nr integer, again boolean, id text, organization_id text, user_id text, token_id text, project_id text, conversation_id text,
    question_id text, parent_id text, branch_ids text[], messages json, agent text, scenario text, trace_id text, model text, upstream text, streamed boolean,
    max_tokens integer, prompt_tokens_estimate integer, owner text, deadline_ms bigint, hold numeric, key text, input_hash text);
  CREATE TYPE weir.held_on AS (budget_ids text[], budget_dates date[]);

  -- What became of the calls, by "nr" (1, 2, 3 …): one answer for all of them, since taking a row apart costs as much as admitting a call. "places"
  -- says which of the period rows ("budgets", "dates") a call is held on. Fates: ADMITTED, BUDGET_EXCEEDED, UNPRICED, REPLAY, RUNNING, CONFLICT, NO_CONVERSATION, ENDED; AGAIN: ask
  -- once more, something of the same group goes first. A call that is asked for again ("again") is not written twice.
  CREATE FUNCTION weir.admit(calls json) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
  #variable_conflict use_column
  DECLARE
    v_at timestamptz := weir.now();
    batch weir.new_call[];
    ids text[];
    organizations text[];
    fates text[];
    details json[];
    places_held text[];
    held weir.held_on[];
    c weir.new_call;
    r record;
    seen text[] := '{}';
    has_again boolean; has_key boolean; has_question boolean;
    -- the period rows that anything of the group is held on, in the order organisation, project, user, token; and where to find a subject's
    room_budgets text[]; room_dates date[]; rooms numeric[]; holds numeric[]; is_missing boolean;
    places jsonb;
    claimed bigint; taken idempotency_keys[];
    mine int[]; place int; refused_by int; room numeric; ids_held text[]; dates_held date[];
  BEGIN
    SELECT array_agg(x ORDER BY x.nr), array_agg(x.id ORDER BY x.nr), array_agg(DISTINCT x.organization_id), bool_or(x.again), bool_or(x.key IS NOT NULL), bool_or(x.messages IS NOT NULL)
      INTO batch, ids, organizations, has_again, has_key, has_question
      FROM json_populate_recordset(NULL::weir.new_call, calls) AS x;
    fates := array_fill(NULL::text, ARRAY[cardinality(ids)]);
    details := array_fill(NULL::json, ARRAY[cardinality(ids)]);
    places_held := array_fill(NULL::text, ARRAY[cardinality(ids)]);
    held := array_fill(NULL::weir.held_on, ARRAY[cardinality(ids)]);
    PERFORM weir.share_budgets(organizations);

    IF has_again THEN
      FOR r IN
        SELECT x.nr, f.occurred_at, f.budget_ids, f.budget_dates, u.id IS NOT NULL AS ended
        FROM unnest(batch) AS x LEFT JOIN calls_in_flight AS f ON f.id = x.id LEFT JOIN llm_usage AS u ON u.id = x.id
        WHERE x.again AND (f.id IS NOT NULL OR u.id IS NOT NULL)
      LOOP
        fates[r.nr] := CASE WHEN r.ended THEN 'ENDED' ELSE 'ADMITTED' END;
        details[r.nr] := json_build_object('occurredAt', r.occurred_at::text, 'budgetIds', r.budget_ids, 'budgetDates', r.budget_dates);
      END LOOP;
    END IF;

    IF has_question THEN
      PERFORM FROM conversations AS v WHERE v.id = ANY (SELECT x.conversation_id FROM unnest(batch) AS x WHERE x.messages IS NOT NULL) ORDER BY v.id FOR UPDATE;
      FOR r IN
        SELECT x.nr, x.conversation_id, v.id IS NOT NULL AS found FROM unnest(batch) AS x LEFT JOIN conversations AS v ON v.id = x.conversation_id
        WHERE x.messages IS NOT NULL ORDER BY x.nr
      LOOP
        CONTINUE WHEN fates[r.nr] IS NOT NULL;
        IF NOT r.found THEN fates[r.nr] := 'NO_CONVERSATION';
        -- The later one has to see the head that the earlier one makes.
        ELSIF r.conversation_id = ANY (seen) THEN fates[r.nr] := 'AGAIN';
        ELSE seen := seen || r.conversation_id;
        END IF;
      END LOOP;
    END IF;

    IF has_key THEN
      -- DO UPDATE, because a key that another replica claims at this moment is waited for and then seen; DO NOTHING would show neither claim nor winner.
      WITH claimed AS (
        INSERT INTO idempotency_keys AS k (user_id, key, input_hash, call_id, first_used_at)
        SELECT DISTINCT ON (x.user_id, x.key) x.user_id, x.key, decode(x.input_hash, 'hex'), x.id, v_at
        FROM unnest(batch) AS x WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL ORDER BY x.user_id, x.key, x.nr
        ON CONFLICT (user_id, key) DO UPDATE SET
          call_id = CASE WHEN k.expires_at <= v_at THEN excluded.call_id ELSE k.call_id END,
          input_hash = CASE WHEN k.expires_at <= v_at THEN excluded.input_hash ELSE k.input_hash END,
          first_used_at = CASE WHEN k.expires_at <= v_at THEN excluded.first_used_at ELSE k.first_used_at END,
          stored = CASE WHEN k.expires_at <= v_at THEN NULL ELSE k.stored END,
          expires_at = CASE WHEN k.expires_at <= v_at THEN NULL ELSE k.expires_at END
        -- Whether the row is new: nobody has locked or updated it.
        RETURNING k.xmax = 0 AS is_new, ROW(k.*)::idempotency_keys AS key)
      SELECT count(*) FILTER (WHERE is_new), array_agg(key) FILTER (WHERE NOT is_new) INTO claimed, taken FROM claimed;
      IF claimed < (SELECT count(*) FROM unnest(batch) AS x WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL) THEN
        FOR r IN
          SELECT x.nr, x.id, decode(x.input_hash, 'hex') AS hash, k.*, row_number() OVER (PARTITION BY x.user_id, x.key ORDER BY x.nr) AS turn
          FROM unnest(batch) AS x LEFT JOIN unnest(taken) AS k ON k.user_id = x.user_id AND k.key = x.key
          WHERE x.key IS NOT NULL AND fates[x.nr] IS NULL
        LOOP
          -- The first of the group may still be refused, and then the key is free.
          IF r.call_id IS NULL THEN
            IF r.turn > 1 THEN fates[r.nr] := 'AGAIN'; END IF;
          ELSIF r.call_id = r.id THEN NULL;
          ELSIF r.call_id = ANY (ids) THEN fates[r.nr] := 'AGAIN';
          ELSIF r.input_hash <> r.hash THEN fates[r.nr] := 'CONFLICT'; details[r.nr] := json_build_object('firstUsedAt', r.first_used_at);
          ELSIF r.expires_at IS NULL THEN fates[r.nr] := 'RUNNING'; details[r.nr] := json_build_object('callId', r.call_id);
          ELSE fates[r.nr] := 'REPLAY'; details[r.nr] := json_build_object('callId', r.call_id, 'stored', r.stored);
          END IF;
        END LOOP;
      END IF;
    END IF;

    -- Budgets that apply. A period row that is not there yet is made first, and read by a later statement: a replica that waited for another one's
    -- insert sees the row only there.
    SELECT array_agg(b.id ORDER BY b.id), array_agg(d.day ORDER BY b.id), coalesce(bool_or(p.budget_id IS NULL), false) INTO room_budgets, room_dates, is_missing
      FROM budgets AS b
      CROSS JOIN LATERAL (SELECT weir.period_start(b.period, v_at AT TIME ZONE b.time_zone) AS day) AS d
      LEFT JOIN budget_periods AS p ON p.budget_id = b.id AND p.starts_on = d.day
      WHERE b.subject_id = ANY (SELECT DISTINCT s FROM unnest(batch) AS x, unnest(ARRAY[x.organization_id, x.project_id, x.user_id, x.token_id]) AS s WHERE s IS NOT NULL);
    IF room_budgets IS NOT NULL THEN
      IF is_missing THEN
        INSERT INTO budget_periods (budget_id, starts_on, starts_at, ends_at)
          SELECT b.id, t.day, weir.local_midnight(t.day, b.time_zone), weir.local_midnight(weir.period_end(b.period, t.day), b.time_zone)
          FROM unnest(room_budgets, room_dates) AS t(id, day) JOIN budgets AS b ON b.id = t.id
          WHERE NOT EXISTS (SELECT FROM budget_periods AS p WHERE p.budget_id = t.id AND p.starts_on = t.day)
          ORDER BY b.id, t.day
          ON CONFLICT (budget_id, starts_on) DO NOTHING;
      END IF;
      PERFORM FROM unnest(room_budgets, room_dates) AS t(id, day) JOIN budget_periods AS p ON p.budget_id = t.id AND p.starts_on = t.day
        ORDER BY p.budget_id, p.starts_on FOR NO KEY UPDATE OF p;
      IF has_again THEN
        -- The first try may have waited for these locks too, and have had them first.
        FOR r IN
          SELECT x.nr, f.occurred_at, f.budget_ids, f.budget_dates, u.id IS NOT NULL AS ended
          FROM unnest(batch) AS x LEFT JOIN calls_in_flight AS f ON f.id = x.id LEFT JOIN llm_usage AS u ON u.id = x.id
          WHERE x.again AND fates[x.nr] IS NULL AND (f.id IS NOT NULL OR u.id IS NOT NULL)
        LOOP
          fates[r.nr] := CASE WHEN r.ended THEN 'ENDED' ELSE 'ADMITTED' END;
          details[r.nr] := json_build_object('occurredAt', r.occurred_at::text, 'budgetIds', r.budget_ids, 'budgetDates', r.budget_dates);
        END LOOP;
      END IF;
      -- Limits are read behind the locks: one that was lowered while this waited counts.
      SELECT array_agg(w.id ORDER BY w.nr), array_agg(w.day ORDER BY w.nr), array_agg(w.room ORDER BY w.nr), array_fill(0::numeric, ARRAY[count(*)::int]) INTO room_budgets, room_dates, rooms, holds
        FROM (SELECT b.id, t.day, b.limit_amount - p.spent - p.held AS room, row_number() OVER (ORDER BY array_position(ARRAY['ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN'], b.scope), b.id) AS nr
              FROM unnest(room_budgets, room_dates) AS t(id, day) JOIN budgets AS b ON b.id = t.id JOIN budget_periods AS p ON p.budget_id = t.id AND p.starts_on = t.day) AS w;
      SELECT jsonb_object_agg(subject_id, nrs) INTO places
        FROM (SELECT b.subject_id, array_agg(t.nr ORDER BY t.nr)::text AS nrs FROM unnest(room_budgets) WITH ORDINALITY AS t(id, nr) JOIN budgets AS b ON b.id = t.id GROUP BY b.subject_id) AS s;
    END IF;

    -- In the order of arrival: a big call that does not fit keeps no smaller one behind it from fitting.
    FOREACH c IN ARRAY batch LOOP
      CONTINUE WHEN fates[c.nr] IS NOT NULL;
      IF room_budgets IS NULL THEN fates[c.nr] := 'ADMITTED'; CONTINUE; END IF;
      -- Without a query: this is done for every call.
      mine := coalesce((places ->> c.organization_id)::int[], '{}') || (places ->> c.project_id)::int[] || (places ->> c.user_id)::int[] || (places ->> c.token_id)::int[];
      IF mine = '{}' THEN fates[c.nr] := 'ADMITTED'; CONTINUE; END IF;
      IF c.hold IS NULL THEN fates[c.nr] := 'UNPRICED'; CONTINUE; END IF;
      refused_by := NULL;
      FOREACH place IN ARRAY mine LOOP
        IF rooms[place] < c.hold THEN refused_by := place; EXIT; END IF;
      END LOOP;
      IF refused_by IS NULL THEN
        ids_held := '{}'; dates_held := '{}';
        FOREACH place IN ARRAY mine LOOP
          rooms[place] := rooms[place] - c.hold;
          holds[place] := holds[place] + c.hold;
          ids_held := ids_held || room_budgets[place];
          dates_held := dates_held || room_dates[place];
        END LOOP;
        held[c.nr] := ROW(ids_held, dates_held)::weir.held_on;
        places_held[c.nr] := mine::text;
        fates[c.nr] := 'ADMITTED';
      ELSE
        SELECT min(rooms[m]) INTO room FROM unnest(mine) AS m;
        fates[c.nr] := 'BUDGET_EXCEEDED';
        details[c.nr] := (SELECT json_build_object('room', greatest(room, 0)::text,
            -- Whether it would fit if nothing ran: then waiting for running calls may help.
            'onlyHeld', (SELECT bool_and(e.limit_amount - q.spent >= c.hold) FROM unnest(mine) AS m JOIN budgets AS e ON e.id = room_budgets[m] JOIN budget_periods AS q ON q.budget_id = e.id AND q.starts_on = room_dates[m]), 'budget', json_build_object('id', b.id, 'organizationId', b.organization_id, 'scope', b.scope, 'subjectId', b.subject_id,
            'period', b.period, 'limit', b.limit_amount::text, 'softLimit', b.soft_limit::text, 'timeZone', b.time_zone, 'alertAtPercent', b.alert_at_percent, 'planId', b.plan_id, 'byOperator', b.by_operator,
            'spent', p.spent::text, 'held', (b.limit_amount - p.spent - rooms[refused_by])::text, 'remaining', greatest(rooms[refused_by], 0)::text, 'overage', p.overage::text,
            'periodStart', p.starts_at, 'resetsAt', p.ends_at))
          FROM budgets AS b JOIN budget_periods AS p ON p.budget_id = b.id AND p.starts_on = room_dates[refused_by] WHERE b.id = room_budgets[refused_by]);
      END IF;
    END LOOP;

    INSERT INTO calls_in_flight (id, occurred_at, organization_id, user_id, token_id, project_id, conversation_id, question_id, agent, scenario, trace_id, model, upstream,
        streamed, max_tokens, prompt_tokens_estimate, owner, deadline_at, idempotency_key, hold, budget_ids, budget_dates)
      SELECT x.id, v_at, x.organization_id, x.user_id, x.token_id, x.project_id, x.conversation_id, x.question_id, x.agent, x.scenario, x.trace_id, x.model, x.upstream,
        x.streamed, x.max_tokens, x.prompt_tokens_estimate, x.owner, v_at + make_interval(secs => x.deadline_ms / 1000.0), x.key, x.hold,
        coalesce((held[x.nr]).budget_ids, '{}'), coalesce((held[x.nr]).budget_dates, '{}')
      FROM unnest(batch) AS x WHERE fates[x.nr] = 'ADMITTED' AND details[x.nr] IS NULL ORDER BY x.id;
    IF room_budgets IS NOT NULL THEN
      UPDATE budget_periods AS p SET held = p.held + t.hold
        FROM unnest(room_budgets, room_dates, holds) AS t(id, day, hold) WHERE t.hold <> 0 AND p.budget_id = t.id AND p.starts_on = t.day;
    END IF;
    IF has_key THEN
      DELETE FROM idempotency_keys AS k USING unnest(batch) AS x
        WHERE x.key IS NOT NULL AND fates[x.nr] IN ('BUDGET_EXCEEDED', 'UNPRICED') AND k.user_id = x.user_id AND k.key = x.key AND k.call_id = x.id;
      -- Claimed once more for a call whose end had freed the key meanwhile.
      DELETE FROM idempotency_keys AS k USING unnest(batch) AS x
        WHERE x.key IS NOT NULL AND fates[x.nr] = 'ENDED' AND k.user_id = x.user_id AND k.key = x.key AND k.call_id = x.id AND k.expires_at IS NULL;
    END IF;
    IF has_question THEN
      FOREACH c IN ARRAY batch LOOP
        CONTINUE WHEN c.messages IS NULL OR fates[c.nr] <> 'ADMITTED' OR details[c.nr] IS NOT NULL;
        -- The call goes on from another place than the head: the branch is another one now.
        IF (SELECT v.head_id FROM conversations AS v WHERE v.id = c.conversation_id) IS DISTINCT FROM c.parent_id THEN
          UPDATE messages AS m SET superseded = NOT (m.id = ANY (c.branch_ids)) WHERE m.conversation_id = c.conversation_id AND m.superseded = (m.id = ANY (c.branch_ids));
        END IF;
        -- The order of the array is the order of the identity column.
        INSERT INTO messages (id, conversation_id, parent_id, role, content, parts, tool_calls, tool_call_id, name)
          SELECT m.id, c.conversation_id, m.parent_id, m.role, m.content, m.parts, m.tool_calls, m.tool_call_id, m.name
          FROM ROWS FROM (json_to_recordset(c.messages) AS (id text, parent_id text, role text, content text, parts jsonb, tool_calls jsonb, tool_call_id text, name text))
            WITH ORDINALITY AS m(id, parent_id, role, content, parts, tool_calls, tool_call_id, name, nr) ORDER BY m.nr;
        UPDATE conversations AS v SET head_id = c.question_id, updated_at = v_at WHERE v.id = c.conversation_id;
      END LOOP;
    END IF;

    RETURN json_build_object('occurredAt', v_at::text, 'budgets', room_budgets, 'dates', room_dates, 'fates', fates, 'places', places_held, 'details', details);
  END $$;
`;
