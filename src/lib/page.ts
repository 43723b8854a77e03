export interface PageArgs {
  first: number;
  after?: string | null;
}

/** One page of a Relay connection: edges in order, each with an opaque keyset cursor. */
export interface Page<T> {
  edges: { node: T; cursor: string }[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

/** A cursor names the sort key of its row, not a position: pages stay stable while rows are inserted. */
export const encodeCursor = (key: readonly (string | number)[]): string =>
  Buffer.from(JSON.stringify(key)).toString('base64url');

/** The sort key in a cursor, or null when the text is none of ours with `length` parts. */
export function decodeCursor(cursor: string, length: number): (string | number)[] | null {
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const valid =
      Array.isArray(key) &&
      key.length === length &&
      key.every(
        (part) => typeof part === 'number' || (typeof part === 'string' && !part.includes('\0') && part.isWellFormed()),
      );
    return valid ? (key as (string | number)[]) : null;
  } catch {
    return null;
  }
}

/** A time in UTC with the microseconds that Postgres keeps. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/**
 * The time and the id in a cursor of a list by time; null for anything that is not a real time: Postgres would refuse
 * it.
 */
export function decodeTimeCursor(cursor: string): [time: string, id: string] | null {
  const [time, id] = decodeCursor(cursor, 2) ?? [];
  if (typeof time !== 'string' || typeof id !== 'string' || !TIME.test(time) || time.startsWith('0000')) return null;
  // A 30th of February would be read as a day in March.
  const date = new Date(time);
  return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, 23) === time.slice(0, 23) ? [time, id] : null;
}

/** Makes a page of rows that were read with `limit first + 1`: the extra row only tells that there is more. */
export function pageOf<Row, T>(
  rows: Row[],
  first: number,
  hasPreviousPage: boolean,
  cursorOf: (row: Row) => readonly (string | number)[],
  map: (row: Row) => T,
): Page<T> {
  return {
    edges: rows.slice(0, first).map((row) => ({ node: map(row), cursor: encodeCursor(cursorOf(row)) })),
    hasNextPage: rows.length > first,
    hasPreviousPage,
  };
}
