import { proxyCost } from './headers';
import { readUsage } from './usage-shape';
import { type TokenBuckets, NO_TOKENS } from '../../../domain/money';

/**
 * What the proxy has written down about a call. Its status is not told: of a call that was cut off it says `success`,
 * with an estimate.
 */
export interface SpendRecord {
  /** The alias that served; null: not told. */
  servedModel: string | null;
  deployment: string | null;
  attempts: number;
  /** null: nothing that can be used. All zero: the call failed before anything was used. */
  tokens: TokenBuckets | null;
  /** The usage object as it stands there. */
  raw: Record<string, unknown> | null;
  /** null: the usual one; left out: not told. */
  serviceTier?: string | null;
  /** Dollars as the proxy computed them, decimal text. */
  cost: string | null;
  /** The proxy answered from its response cache: `tokens` are those of the first answer, and nothing was charged. */
  fromCache: boolean;
}

/**
 * Who has paid for a record: alias of the key and id of the team; null: none, or a key that the proxy does not know.
 */
export interface RecordPayer {
  keyAlias: string | null;
  teamId: string | null;
}

/**
 * Whose a call of ours is. The alias of a user's key is the prefix and the user's id; ids of our teams begin with the
 * prefix.
 */
export interface CallOwner {
  prefix: string;
  userId: string;
}

/**
 * Whether the key of the call's own user has paid. Whoever has a key of the same proxy can send any id with a call of
 * theirs, ours too: the id alone says nothing.
 * What a record does not tell rules nothing out.
 */
export const isPaidBy = ({ keyAlias, teamId }: RecordPayer, { prefix, userId }: CallOwner): boolean =>
  (keyAlias === null || keyAlias === `${prefix}${userId}`) && (teamId === null || teamId.startsWith(prefix));

/** Those that name a key first: one that names none may be anybody's. */
export const namedFirst = (a: RecordPayer, b: RecordPayer): number =>
  Number(b.keyAlias !== null) - Number(a.keyAlias !== null);

/**
 * The proxy's records of calls, as an administrator sees them. Both throw SERVICE_UNAVAILABLE when it does not answer.
 */
export interface SpendRecords {
  /**
   * By our call id, of its owner's key; null: none is there, or none yet: they come up to 15 s after the end of a call.
   */
  spendRecord(callId: string, owner: CallOwner): Promise<SpendRecord | null>;
  /**
   * Milliseconds since the proxy's newest record began, by the proxy's own clock; null: there is none within the last
   * `withinMs`.
   */
  newestRecordAgeMs(withinMs: number): Promise<number | null>;
}

export type Shape = Record<string, unknown>;
export const part = (value: unknown): Shape =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Shape) : {};
export const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null);
const count = (value: unknown): number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 1_000 ? (value as number) : 0;
const used = ({ tokens }: SpendRecord): number => (tokens ? Object.values(tokens).reduce((sum, n) => sum + n, 0) : 0);

/**
 * The answer of `/spend/logs?request_id=`. A call that was asked for twice has two rows, the first one a refusal: the
 * one in which more was used counts. What others paid for does not.
 */
export function readSpendRecord(rows: unknown, owner: CallOwner): SpendRecord | null {
  if (!Array.isArray(rows)) return null;
  const found = rows
    .map((row) => ({ ...readPayer(part(row)), record: readRow(row) }))
    .filter((one) => isPaidBy(one, owner));
  return found.sort((a, b) => namedFirst(a, b) || used(b.record) - used(a.record))[0]?.record ?? null;
}

export function readPayer(row: Shape): RecordPayer {
  const metadata = part(row.metadata);
  return {
    keyAlias: text(metadata.user_api_key_alias),
    teamId: text(row.team_id) ?? text(metadata.user_api_key_team_id),
  };
}

export function readRow(value: unknown): SpendRecord {
  const row = part(value);
  const metadata = part(row.metadata);
  // Without a usage object, as of a call that was cut off before its first token, the row's own columns have the
  // proxy's count.
  const usage =
    readUsage(metadata.usage_object, 'LITELLM', false) ??
    readUsage({ prompt_tokens: row.prompt_tokens, completion_tokens: row.completion_tokens }, 'LITELLM', false);
  const fromCache = String(row.cache_hit).toLowerCase() === 'true';
  const failedUnused = row.status === 'failure' && !row.total_tokens;
  return {
    servedModel: text(row.model_group),
    deployment: text(row.model_id),
    attempts: 1 + count(metadata.attempted_retries) + count(metadata.attempted_fallbacks),
    tokens: usage?.tokens ?? (failedUnused ? NO_TOKENS : null),
    raw: usage?.raw ?? null,
    serviceTier: text(usage?.raw.service_tier) === null ? undefined : usage!.serviceTier,
    cost: fromCache ? '0' : proxyCost(row.spend),
    fromCache,
  };
}

/** Times of the proxy's parameters: UTC, to the second. */
export const proxyTime = (ms: number): string =>
  encodeURIComponent(new Date(ms).toISOString().slice(0, 19).replace('T', ' '));

/** The begin of the newest record in an answer of `/spend/logs/v2`, in milliseconds; null: there is none. */
export function newestStart(body: Shape): number | null {
  const starts = (Array.isArray(body.data) ? body.data : [])
    .map((row) => Date.parse(String(part(row).startTime)))
    .filter((ms) => Number.isFinite(ms));
  return starts.length > 0 ? Math.max(...starts) : null;
}
