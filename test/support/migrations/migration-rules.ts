import type { Found } from './finding';
import type { MigrationFile } from './migration-files';
import { concurrent, ours } from './own-rules';
import { statementsOf, type Statement } from './sql-statements';
import { squawk } from './squawk';

export interface Finding extends Found {
  file: string;
}

const DROPS = new Set(['ban-drop-table', 'ban-drop-column', 'drop']);

/**
 * What is wrong with migrations after the baseline, in the order in which they run. `release` is the one that brings
 * the newest of them.
 */
export function lintMigrations(files: readonly MigrationFile[], release: string): Finding[] {
  const before: Statement[] = [];
  return files.flatMap((file) => {
    const statements = statementsOf(file.sql);
    const found = [
      ...file.unreadable.map((line) => ({
        line,
        rule: 'literal',
        message: 'A linter reads what is written: pass the statement as one literal without ${}.',
      })),
      ...squawk(file),
      ...(file.inTransaction ? statements.flatMap(concurrent) : []),
      ...ours(statements, before),
    ].filter((finding) => !(DROPS.has(finding.rule) && isContract(file, statements, finding.line, release)));
    before.push(...statements);
    return found.sort((a, b) => a.line - b.line).map((finding) => ({ file: file.name, ...finding }));
  });
}

/**
 * On the line before what is dropped, or before its statement: the release that stopped using it, which is older than
 * the one that drops it.
 */
function isContract({ sql }: MigrationFile, statements: readonly Statement[], line: number, release: string): boolean {
  const lines = sql.split('\n');
  const statement = statements.findLast((one) => one.line <= line);
  return [line, statement?.line ?? line].some((at) => {
    const [, stopped] = /^\s*-- contract: (\d+\.\d+\.\d+)\s*$/.exec(lines[at - 2] ?? '') ?? [];
    return stopped !== undefined && isOlder(stopped, release);
  });
}

function isOlder(a: string, b: string): boolean {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  const at = x.findIndex((part, index) => part !== y[index]);
  return at >= 0 && x[at]! < y[at]!;
}
