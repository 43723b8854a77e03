import fs from 'node:fs';
import path from 'node:path';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { readSqlFile } from '../sql-files';

const FOLDER = path.join(__dirname, 'baseline');
/**
 * Tables have the clock as a default: these two come before them. The other functions are loaded by the repeatable
 * migration, behind the tables.
 */
const CLOCKS = ['ledger/sql/now.sql', 'ledger/sql/clock.sql'];

/**
 * All tables, types and keys of release 0.2.0. From here on the schema changes by expand, switch and contract:
 * docs/releases.md.
 */
export class Baseline20261201000000 implements MigrationInterface {
  // TypeORM takes the order from the number at the end of the name.
  name = 'Baseline20261201000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE SCHEMA IF NOT EXISTS weir; CREATE SCHEMA IF NOT EXISTS analytics');
    for (const file of CLOCKS) await runner.query(readSqlFile(file));
    for (const file of fs.readdirSync(FOLDER).sort())
      await runner.query(fs.readFileSync(path.join(FOLDER, file), 'utf8'));
  }

  async down(): Promise<void> {
    throw new Error('migrations go forward only');
  }
}
