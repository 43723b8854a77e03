import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Checkpoints know the numbers of what they hold, and those of lost calls stay for a while: whoever looked at the stream gets them. */
export class KeptStreams20261121150000 implements MigrationInterface {
  name = 'KeptStreams20261121150000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Rows of the version before have no numbers: their calls are ended by them, and nobody can be shown them.
      ALTER TABLE call_checkpoints
        ADD COLUMN first_seq integer,
        ADD COLUMN last_seq integer,
        -- one element for each piece: services/streams/kept-pieces.ts
        ADD COLUMN pieces json;
    `);
    await runner.query(SETTLE);
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}

const SETTLE = `
  -- What a call leaves that nobody saw end is for its viewers; recovery removes it later. Who is told the end of a call that others have settled removes nothing.
  DO $$
  DECLARE
    definition text := pg_get_functiondef('weir.settle(json)'::regprocedure);
    kept text := replace(definition, 'DELETE FROM call_checkpoints AS p WHERE p.call_id = ANY (streamed_ids);',
      'DELETE FROM call_checkpoints AS p WHERE p.call_id = ANY (ARRAY(SELECT x.id FROM unnest(batch) AS x WHERE x.streamed AND x.status <> ''LOST'' AND x.id = ANY (settled)));');
  BEGIN
    IF kept = definition THEN RAISE EXCEPTION 'weir.settle is not as it was'; END IF;
    EXECUTE kept;
  END $$;
`;
