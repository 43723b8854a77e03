import { createHash } from 'node:crypto';
import type { Settlement } from '../../domain/call';

/** What is written down of a journal file. Another version is another format: such a file is left alone. */
const VERSION = 1;
const NEW_LINE = 0x0a;
/** Hex digits of a SHA-256, and the space behind them. */
const DIGEST = 64;
const PREFIX = DIGEST + 1;

interface Header {
  weirJournal: number;
  entries: number;
}

export interface ReadFile {
  /** The entries whose checksum is right. */
  ends: Settlement[];
  /** Nothing is missing and nothing is wrong: a header, and as many good lines as it says. */
  whole: boolean;
  /** The version in a header whose checksum is right and that is not ours; else null. */
  foreignVersion: number | null;
}

const line = (value: unknown): Buffer => {
  const json = Buffer.from(JSON.stringify(value));
  return Buffer.concat([Buffer.from(`${createHash('sha256').update(json).digest('hex')} `), json, Buffer.from('\n')]);
};

/**
 * A header with the number of entries, without which a file that is cut between two lines would look whole; then a line
 * per end: SHA-256 in hex, space, JSON.
 */
export const encodeFile = (ends: readonly Settlement[]): Buffer =>
  Buffer.concat([line({ weirJournal: VERSION, entries: ends.length } satisfies Header), ...ends.map(line)]);

/** Never throws: what cannot be read is not there. */
export function decodeFile(content: Buffer): ReadFile {
  let header: Header | null = null;
  let wrong = 0;
  const ends: Settlement[] = [];
  for (const [number, bytes] of linesOf(content).entries()) {
    const value = valueOf(bytes);
    if (number === 0 && isHeader(value)) header = value;
    else if (isEnd(value)) ends.push(value);
    else wrong += 1;
  }
  if (header && header.weirJournal !== VERSION) return { ends: [], whole: false, foreignVersion: header.weirJournal };
  return { ends, whole: wrong === 0 && header?.entries === ends.length, foreignVersion: null };
}

/**
 * Bytes and not text: a whole file as one string could be longer than strings may be. A last line without its end
 * counts: its checksum says whether it is complete.
 */
function linesOf(content: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let from = 0;
  while (from < content.length) {
    const at = content.indexOf(NEW_LINE, from);
    const to = at < 0 ? content.length : at;
    lines.push(content.subarray(from, to));
    from = to + 1;
  }
  return lines;
}

function valueOf(bytes: Buffer): unknown {
  const json = bytes.subarray(PREFIX);
  if (
    bytes.length <= PREFIX ||
    bytes.toString('latin1', 0, PREFIX) !== `${createHash('sha256').update(json).digest('hex')} `
  )
    return null;
  try {
    return JSON.parse(json.toString());
  } catch {
    return null;
  }
}

const isHeader = (value: unknown): value is Header =>
  typeof (value as Header | null)?.weirJournal === 'number' && typeof (value as Header).entries === 'number';
const isEnd = (value: unknown): value is Settlement =>
  typeof (value as Settlement | null)?.id === 'string' && typeof (value as Settlement).occurredAt === 'string';
