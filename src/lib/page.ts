/** One page of a Relay connection: edges in order, each with an opaque keyset cursor. */
export interface Page<T> {
  edges: { node: T; cursor: string }[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
}

/** A cursor names the sort key of its row, not a position: pages stay stable while rows are inserted. */
export const encodeCursor = (key: readonly (string | number)[]): string => Buffer.from(JSON.stringify(key)).toString('base64url');

/** The sort key in a cursor, or null when the text is none of ours with `length` parts. */
export function decodeCursor(cursor: string, length: number): (string | number)[] | null {
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    const valid = Array.isArray(key) && key.length === length && key.every((part) => typeof part === 'number' || (typeof part === 'string' && !part.includes('\0')));
    return valid ? (key as (string | number)[]) : null;
  } catch {
    return null;
  }
}

/** Makes a page of rows that were read with `limit first + 1`: the extra row only tells that there is more. */
export function pageOf<Row, T>(rows: Row[], first: number, hasPreviousPage: boolean, cursorOf: (row: Row) => readonly (string | number)[], map: (row: Row) => T): Page<T> {
  return {
    edges: rows.slice(0, first).map((row) => ({ node: map(row), cursor: encodeCursor(cursorOf(row)) })),
    hasNextPage: rows.length > first,
    hasPreviousPage,
  };
}
