import type { Db } from '../../../src/database/pool';

/** Tables whose changes are the steps of admission, settlement and correction. */
const WATCHED = [
  'calls_in_flight',
  'llm_usage',
  'budget_periods',
  'budget_alerts',
  'idempotency_keys',
  'messages',
  'conversations',
  'call_checkpoints',
];
/** Of the advisory lock that a backend waits for at a failpoint. */
export const GATE = 9;

/**
 * Makes a test database one that proves: a clock of its own, a log of everything that the ledger's functions did, in an
 * order that explains it, the invariant checked at every commit, and failpoints between the functions' statements.
 */
export async function installProof(db: Db): Promise<void> {
  await db.query(CLOCK);
  await db.query(LOG);
  await db.query(INVARIANT);
  await db.query(FAILPOINTS + WATCHED.map(pointsOf).join('\n'));
}

// One time for a whole transaction, as with now(): it is read when the transaction begins, and waits for locks with it.
const CLOCK = `
  CREATE SCHEMA proof;
  CREATE TABLE proof.clock (at timestamptz NOT NULL);
  INSERT INTO proof.clock VALUES (now());
  CREATE OR REPLACE FUNCTION weir.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('proof.now', true), '')::timestamptz, (SELECT at FROM proof.clock))
  $$;
  CREATE FUNCTION proof.begin() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT set_config('proof.now', (SELECT at FROM proof.clock)::text, true)::timestamptz
  $$;
`;

// A transaction writes its entry behind all its locks and before it commits: of two that meet in any lock, the one that
// went first has the lower number.
const LOG = `
  CREATE TABLE proof.log (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, organization_id text NOT NULL, kind text NOT NULL, at timestamptz NOT NULL, until timestamptz, input json, output json);
  ALTER FUNCTION weir.admit(json) RENAME TO admit_unwatched;
  CREATE FUNCTION weir.admit(calls json) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    v_at timestamptz := proof.begin();
    answer json := weir.admit_unwatched(calls);
  BEGIN
    INSERT INTO proof.log (organization_id, kind, at, input, output) VALUES (calls -> 0 ->> 'organization_id', 'admit', v_at, calls, answer);
    RETURN answer;
  END $$;
  ALTER FUNCTION weir.settle(json) RENAME TO settle_unwatched;
  CREATE FUNCTION weir.settle(ends json, OUT settled text[], OUT stale text[], OUT alerted boolean, OUT waited interval) LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    v_at timestamptz := proof.begin();
  BEGIN
    SELECT s.* INTO settled, stale, alerted, waited FROM weir.settle_unwatched(ends) AS s;
    INSERT INTO proof.log (organization_id, kind, at, input, output) VALUES (ends -> 0 ->> 'organization_id', 'settle', v_at, ends, to_json(settled));
  END $$;
  ALTER FUNCTION weir.correct(json, text) RENAME TO correct_unwatched;
  CREATE FUNCTION weir.correct(ends json, reason text, OUT corrected text[], OUT alerted boolean) LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    v_at timestamptz := proof.begin();
  BEGIN
    SELECT c.* INTO corrected, alerted FROM weir.correct_unwatched(ends, reason) AS c;
    INSERT INTO proof.log (organization_id, kind, at, input, output) VALUES (ends -> 0 ->> 'organization_id', 'correct', v_at, ends, to_json(corrected));
  END $$;
  -- The last step of an edit, which began with proof.begin() and weir.lock_budgets: the budgets as they are now, and the periods of those that were
  -- filled. Whoever waits for the lock takes the seconds of it into account; by this clock, too, it may be the next period by then.
  CREATE FUNCTION proof.edited(v_organization text, v_filled text[]) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO proof.log (organization_id, kind, at, until, input, output)
      SELECT v_organization, 'edit', weir.now(), weir.now() + (clock_timestamp() - transaction_timestamp()), coalesce(json_agg(json_build_object('id', b.id, 'scope', b.scope, 'subject_id', b.subject_id,
          'period', b.period, 'limit_amount', b.limit_amount::text, 'time_zone', b.time_zone, 'alert_at_percent', b.alert_at_percent)), '[]'),
        (SELECT json_agg(json_build_object('id', f.id, 'days', ARRAY(SELECT p.starts_on FROM budget_periods AS p WHERE p.budget_id = f.id))) FROM unnest(v_filled) AS f(id))
      FROM budgets AS b WHERE b.organization_id = v_organization
  $$;
`;

// At the end of the transaction, for every change of a row. An edit of the limit, or a budget that is filled in, may
// leave more than the limit: that much stays allowed, and may only become less.
const INVARIANT = `
  CREATE FUNCTION proof.check_period() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    v_limit numeric := (SELECT limit_amount FROM budgets WHERE id = NEW.budget_id);
  BEGIN
    IF NEW.held < 0 OR NEW.overage < 0 OR NEW.spent < 0 OR NEW.overage > NEW.spent THEN RAISE EXCEPTION 'PROOF: negative: %', NEW; END IF;
    IF current_setting('proof.editing', true) = 'yes' OR TG_OP = 'INSERT' THEN RETURN NULL; END IF;
    IF NEW.spent - NEW.overage + NEW.held > greatest(v_limit, OLD.spent - OLD.overage + OLD.held) THEN RAISE EXCEPTION 'PROOF: overspent, limit %: % became %', v_limit, OLD, NEW; END IF;
    IF NEW.overage - OLD.overage > greatest(NEW.spent - OLD.spent, 0) THEN RAISE EXCEPTION 'PROOF: overage that nobody spent: % became %', OLD, NEW; END IF;
    RETURN NULL;
  END $$;
  CREATE CONSTRAINT TRIGGER check_period AFTER INSERT OR UPDATE ON budget_periods DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION proof.check_period();
`;

// Which one is reached is counted by a sequence, which a transaction that dies does not turn back: each failpoint works
// once.
const FAILPOINTS = `
  CREATE TABLE proof.failpoint (victim text NOT NULL, hit integer NOT NULL, action text NOT NULL);
  CREATE SEQUENCE proof.hits;
  CREATE FUNCTION proof.reach() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE
    f proof.failpoint;
  BEGIN
    SELECT * INTO f FROM proof.failpoint WHERE victim = current_setting('application_name');
    IF FOUND AND nextval('proof.hits') = f.hit THEN
      IF f.action = 'TERMINATE' THEN PERFORM pg_terminate_backend(pg_backend_pid());
      ELSE PERFORM pg_advisory_lock_shared(${GATE}, ${GATE}), pg_advisory_unlock_shared(${GATE}, ${GATE});
      END IF;
    END IF;
    RETURN NULL;
  END $$;
`;
const pointsOf = (table: string): string => `
  CREATE TRIGGER proof_before BEFORE INSERT OR UPDATE OR DELETE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION proof.reach();
  CREATE TRIGGER proof_after AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH STATEMENT EXECUTE FUNCTION proof.reach();`;
