import { randomFillSync } from 'node:crypto';

/** Prefixes of our public ids: opaque to clients, unique across types, so that a normalised client cache is safe. */
export const ID_PREFIXES = {
  organization: 'org',
  user: 'usr',
  plan: 'pln',
  project: 'prj',
  apiToken: 'tok',
  conversation: 'conv',
  message: 'msg',
  call: 'call',
  stream: 'str',
  budget: 'bud',
  budgetAlert: 'alr',
} as const;
export type IdKind = keyof typeof ID_PREFIXES;

// Crockford's base 32 in lower case: sorts like the number it writes, and has no letters that are read as digits.
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * Random bytes are made for many ids at once: a call of the generator takes longer than everything else about an id.
 */
const pool = Buffer.alloc(4_096);
let used = pool.length;
function randomPart(length: number): Buffer {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += length;
  return pool.subarray(used - length, used);
}

/** A trace id as W3C traces have them: 32 hex digits. */
export const newTraceId = (): string => randomPart(16).toString('hex');

/**
 * A new id: prefix, 10 characters of time (milliseconds, UTC), 16 random ones (80 bits). Ids of one kind sort by
 * creation, to the millisecond.
 */
export function newId(kind: IdKind, nowMs = Date.now()): string {
  let time = '';
  for (let rest = nowMs, i = 0; i < 10; i += 1) {
    time = ALPHABET[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  let random = '';
  for (const byte of randomPart(16)) random += ALPHABET[byte & 31];
  return `${ID_PREFIXES[kind]}_${time}${random}`;
}

const KIND_OF_PREFIX = new Map(Object.entries(ID_PREFIXES).map(([kind, prefix]) => [prefix as string, kind as IdKind]));
const ID_FORM = /^([a-z]{3,4})_[0-9a-hjkmnp-tv-z]{26}$/;

/** The kind that an id says it is, or null for anything that is not one of our ids. */
export function kindOfId(id: string): IdKind | null {
  const match = ID_FORM.exec(id);
  return match ? (KIND_OF_PREFIX.get(match[1]!) ?? null) : null;
}

/** A stream and its call are one thing with two names: each id is told from the other. */
export const streamIdOfCall = (callId: string): string => ID_PREFIXES.stream + callId.slice(ID_PREFIXES.call.length);
export const callIdOfStream = (streamId: string): string =>
  ID_PREFIXES.call + streamId.slice(ID_PREFIXES.stream.length);
