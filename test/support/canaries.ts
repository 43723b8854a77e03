import type { Db } from '../../src/database/pool';

/** Secrets by what they are. */
export type Canaries = Record<string, string>;

/** Every form in which a secret may lie somewhere. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const base64 = bytes.toString('base64');
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('hex'),
      base64,
      base64.replace(/=+$/, ''),
      bytes.toString('base64url'),
    ]),
  ];
}

/** What was found where, as `name in place`. */
export function findCanaries(canaries: Canaries, texts: Iterable<{ place: string; text: string }>): string[] {
  const wanted = Object.entries(canaries).map(([name, secret]) => ({ name, forms: formsOf(secret) }));
  const found: string[] = [];
  for (const { place, text } of texts) {
    for (const { name, forms } of wanted)
      if (forms.some((form) => text.includes(form))) found.push(`${name} in ${place}: ${text.slice(0, 400)}`);
  }
  return found;
}

/** Every column of every row of every table, bytes as hex and as the text that they may be. */
export async function everyValue(db: Db): Promise<{ place: string; text: string }[]> {
  const tables = await db.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
  );
  const values: { place: string; text: string }[] = [];
  for (const { name } of tables) {
    for (const row of await db.query<Record<string, unknown>>(`SELECT * FROM ${name}`)) {
      for (const [column, value] of Object.entries(row)) {
        const place = `${name}.${column}`;
        if (Buffer.isBuffer(value))
          values.push({
            place,
            text: `${value.toString('hex')} ${value.toString('utf8')} ${value.toString('base64')}`,
          });
        else if (value !== null)
          values.push({ place, text: typeof value === 'string' ? value : JSON.stringify(value) });
      }
    }
  }
  return values;
}
