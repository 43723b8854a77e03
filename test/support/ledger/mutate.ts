import type { Db } from '../../../src/database/pool';

/** A part of a function's text, and what stands there when somebody forgets why. */
export type Mutation = [remedy: RegExp, mistake: string];

/** Without comments and lines, so that a mistake is found in it however the file is laid out. */
const inOneLine = (text: string): string =>
  text.replace(/--.*$/gm, '').replace(/\s+/g, ' ').replace(/\( /g, '(').replace(/ \)/g, ')');

/**
 * Runs with a function of the database mutated, and puts it right again. Fails where the remedy is not found: then the
 * test has to learn its new form.
 */
export async function withMistake<T>(
  db: Db,
  name: string,
  mutations: readonly Mutation[],
  work: () => Promise<T>,
): Promise<T> {
  const [row] = await db.query<{ text: string }>('SELECT pg_get_functiondef($1::regproc) AS text', [name]);
  let text = inOneLine(row!.text);
  for (const [remedy, mistake] of mutations) {
    if (!remedy.test(text)) throw new Error(`${name} has no ${remedy}: what keeps this trap from snapping now?`);
    text = text.replace(remedy, mistake);
  }
  await db.query(text);
  try {
    return await work();
  } finally {
    await db.query(row!.text);
  }
}
