/** What a client asks of a file. */
export interface ExportRequest {
  /** The `Range` header as `rangeOf` reads it; null: the whole file. */
  range: AskedRange | null;
  /** `If-Range`: the part is wanted only of this very file. */
  ifRange: string | null;
  /** Aborted when the client has left. */
  signal: AbortSignal;
}
/** From a byte on, to a byte (inclusive) or the end; or the last so many bytes. */
export type AskedRange = { from: number; to: number | null } | { last: number };

export interface ExportDownload {
  /** Entity tag, in its quotes. */
  tag: string;
  fileName: string;
  /** Bytes of the whole file; null: not counted. */
  total: number | null;
  /** null: the whole file; `from` beyond `to`: the file has no such bytes. */
  part: { from: number; to: number } | null;
  /** One page at a time, when it is asked for. */
  read(): AsyncGenerator<Buffer, void, void>;
  /** To be called at the end, whatever it was. */
  close(): void;
}

/**
 * One range of bytes. null for everything else (RFC 9110: a server may ignore the header), and several ranges at once
 * are everything else, too.
 */
export function rangeOf(header: string | undefined): AskedRange | null {
  const match = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  if (match[1] === '') return { last: Number(match[2]) };
  const from = Number(match[1]);
  const to = match[2] === '' ? null : Number(match[2]);
  return to !== null && to < from ? null : { from, to };
}

/** The bytes of a file of this length that were asked for. */
export function partOf(asked: AskedRange, total: number): { from: number; to: number } {
  // The last no bytes of a file are none.
  if ('last' in asked)
    return asked.last === 0 ? { from: total, to: total - 1 } : { from: Math.max(0, total - asked.last), to: total - 1 };
  return { from: asked.from, to: Math.min(asked.to ?? total - 1, total - 1) };
}
