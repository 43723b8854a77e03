import { parseSync } from '@swc/core';
import fs from 'node:fs';
import path from 'node:path';

/**
 * The end of the baseline's name. What is older made a database that nobody has any more; what is younger is linted.
 */
export const BASELINE = '20261201000000';

export interface MigrationFile {
  name: string;
  /** The statements at their lines and columns in the file; everything else is blank. */
  sql: string;
  /** False: it runs outside of a transaction, as CREATE INDEX CONCURRENTLY has to. */
  inTransaction: boolean;
  /** Lines (from 1) of a `query` whose statement is not written out, and cannot be read. */
  unreadable: number[];
}

/** Every migration after the baseline, in the order in which they run. */
export function migrationFiles(folder: string): MigrationFile[] {
  const names = fs
    .readdirSync(folder)
    .filter((name) => /^\d{14}-.*\.(ts|sql)$/.test(name) && name.slice(0, 14) > BASELINE);
  return names.sort().map((name) => readMigration(name, fs.readFileSync(path.join(folder, name), 'utf8')));
}

export function readMigration(name: string, text: string): MigrationFile {
  if (name.endsWith('.sql')) return { name, sql: text, inTransaction: true, unreadable: [] };
  const { literals, unreadable } = statementsIn(text);
  const isSql = new Uint8Array(text.length);
  for (const { from, to } of literals) isSql.fill(1, from, to);
  const ends = new Set(literals.map(({ to }) => to));
  const sql = text
    .split('')
    .map((character, at) => (character === '\n' || isSql[at] ? character : ends.has(at) ? ';' : ' '))
    .join('');
  return {
    name,
    sql,
    inTransaction: !/^\s*(?:readonly\s+)?transaction\s*(?::\s*\w+\s*)?=\s*false\b/m.test(text),
    unreadable,
  };
}

interface Found {
  literals: { from: number; to: number }[];
  unreadable: number[];
}
type Node = { type?: string; [key: string]: unknown };

/** What is passed to `….query(…)`: a string, a template without `${}`, or a constant of the file that is one. */
function statementsIn(text: string): Found {
  const found: Found = { literals: [], unreadable: [] };
  const module = parseSync(text, { syntax: 'typescript', decorators: true }) as unknown as Node & {
    span: { start: number };
  };
  const constants = new Map<string, Node>();
  walk(module, (node) => {
    if (node.type === 'VariableDeclarator')
      constants.set((node.id as { value?: string }).value ?? '', node.init as Node);
  });
  // Positions count bytes, from where this parse began among all of the process.
  const bytes = Buffer.from(text);
  const first = firstToken(text);
  const at = (position: number): number => bytes.subarray(0, position - module.span.start + first).toString().length;
  walk(module, (node) => {
    const callee = node.callee as Node | undefined;
    if (node.type !== 'CallExpression' || (callee?.property as { value?: string } | undefined)?.value !== 'query')
      return;
    const argument = (node.arguments as { expression: Node }[])[0]?.expression;
    const literal = argument?.type === 'Identifier' ? constants.get(argument.value as string) : argument;
    const { start, end } = (literal ?? node).span as { start: number; end: number };
    const readable =
      literal?.type === 'StringLiteral' ||
      (literal?.type === 'TemplateLiteral' && (literal.expressions as unknown[]).length === 0);
    if (readable) found.literals.push({ from: at(start) + 1, to: at(end) - 1 });
    else found.unreadable.push(text.slice(0, at((node.span as { start: number }).start)).split('\n').length);
  });
  return found;
}

/** Bytes before the first token: there the span of a module begins. */
function firstToken(text: string): number {
  const blank = /^(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/.exec(text)![0];
  return Buffer.byteLength(blank);
}

function walk(node: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(node)) return node.forEach((one) => walk(one, visit));
  if (node === null || typeof node !== 'object') return;
  visit(node as Node);
  Object.values(node).forEach((value) => walk(value, visit));
}
