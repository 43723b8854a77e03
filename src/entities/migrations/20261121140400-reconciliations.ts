import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What each night's comparison with the proxy has found, and how far it came. */
export class Reconciliations20261121140400 implements MigrationInterface {
  name = 'Reconciliations20261121140400';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE reconciliations (
        -- the day (UTC) of the run
        run_on date NOT NULL,
        -- the calls that it compares: made from, inclusive, to, exclusive
        from_at timestamptz NOT NULL,
        to_at timestamptz NOT NULL,
        compared_up_to timestamptz NOT NULL,
        compared_calls bigint NOT NULL DEFAULT 0,
        missing_here bigint NOT NULL DEFAULT 0,
        missing_at_proxy bigint NOT NULL DEFAULT 0,
        tokens_differ bigint NOT NULL DEFAULT 0,
        cost_differs bigint NOT NULL DEFAULT 0,
        -- estimates that were replaced, and those that could not be
        corrected bigint NOT NULL DEFAULT 0,
        not_corrected bigint NOT NULL DEFAULT 0,
        -- dollars of the calls that were compared, before their correction; null: nothing had a cost
        our_cost numeric,
        proxy_cost numeric,
        -- who is at it, and until when nobody else takes it over
        owner text NOT NULL,
        leased_until timestamptz NOT NULL,
        ended_at timestamptz,
        CONSTRAINT reconciliations_pkey PRIMARY KEY (run_on)
      )`);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}
