import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { CONTRACT, type Found } from './finding';
import type { MigrationFile } from './migration-files';

/**
 * Rules of squawk, by its names, with what to do instead in our words. The others of squawk are matters of taste, or
 * ours below.
 */
const SQUAWK: Record<string, string> = {
  'ban-drop-table': CONTRACT,
  'ban-drop-column': CONTRACT,
  'changing-column-type':
    'It rewrites the table. Add a column of the new type, write both, fill the old rows in steps, read the new ' +
    'one, and drop the old one in a later release.',
  'require-concurrent-index-creation':
    'It blocks writes. Say CREATE INDEX CONCURRENTLY, in a migration of its own with `transaction = false`.',
  'require-concurrent-index-deletion':
    'It blocks everything. Say DROP INDEX CONCURRENTLY, in a migration of its own with `transaction = false`.',
  'adding-required-field':
    'Rows that exist, and the release before, have no value for it. Give it a DEFAULT, or leave it nullable.',
  'adding-field-with-default':
    'A volatile or unknown default rewrites the table. Add the column without it, fill the old rows in steps, ' +
    'then set the default; a constant or now() is no rewrite.',
  'adding-foreign-key-constraint':
    'It reads the table under a lock. Add it with NOT VALID, and VALIDATE CONSTRAINT in the next migration.',
  'constraint-missing-not-valid':
    'It reads the table under a lock. Add it with NOT VALID, and VALIDATE CONSTRAINT in the next migration; ' +
    'UNIQUE and PRIMARY KEY: USING INDEX, of an index made CONCURRENTLY.',
  'disallowed-unique-constraint':
    'It builds its index under a lock. Make a unique index CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX.',
  'adding-serial-primary-key-field':
    'It builds its index under a lock. Make a unique index CONCURRENTLY, then ADD CONSTRAINT … PRIMARY KEY USING ' +
    'INDEX.',
  'syntax-error': 'Postgres would not take it either.',
};
/**
 * Of a migration outside of a transaction: it can fail between two statements, and has to pass when it is run again.
 */
const ROBUST = {
  'prefer-robust-stmts':
    'Without a transaction it can fail halfway, and runs again from its start. Say IF NOT EXISTS or IF EXISTS.',
};
const ROOT = path.join(__dirname, '..', '..', '..');

/** What squawk says of a migration, as far as we go by it. */
export function squawk({ sql, inTransaction }: MigrationFile): Found[] {
  const rules: Record<string, string> = inTransaction ? SQUAWK : { ...SQUAWK, ...ROBUST };
  const args = [
    '--reporter',
    'json',
    '--pg-version',
    '15',
    '--stdin-filepath',
    'migration.sql',
    ...(inTransaction ? ['--assume-in-transaction'] : ['--no-assume-in-transaction']),
  ];
  const found = JSON.parse(runSquawk(args, sql)) as { line: number; rule_name: string; message: string }[];
  return found
    .filter((one) => one.rule_name in rules)
    .map((one) => ({
      line: one.line + 1,
      rule: one.rule_name,
      message: `${sentence(one.message)} ${rules[one.rule_name]}`,
    }));
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`.replace(/\.?$/, '.');

function runSquawk(args: string[], input: string): string {
  try {
    return execFileSync(process.execPath, [path.join(ROOT, 'node_modules/squawk-cli/js/bin/squawk'), ...args], {
      input,
      encoding: 'utf8',
      cwd: ROOT,
    });
  } catch (error) {
    const { status, stdout } = error as { status: number | null; stdout: string };
    // 1: it found something.
    if (status === 1 && stdout.startsWith('[')) return stdout;
    throw error;
  }
}
