import type { Db } from '../../database/pool';

/** A key is its user's: nobody else's means the same. */
export interface KeyName {
  organizationId: string;
  userId: string;
  key: string;
}
/** What admission (weir.admit) and settlement (weir.settle) wrote of a key. */
export interface KeyRow {
  callId: string;
  /** Hex. */
  inputHash: string;
  firstUsedAt: Date;
  /** The call has ended; `stored` is what a repetition is told. */
  ended: boolean;
  /** The day from the end is over: the key is free. */
  expired: boolean;
  stored: unknown;
}

export class IdempotencyStore {
  constructor(private readonly db: Db) {}

  /** In the order of the names; null: never used, or free again. */
  async read(names: readonly KeyName[]): Promise<(KeyRow | null)[]> {
    // Many wait for one key: it is read once.
    const asked = [...new Map(names.map((name) => [idOf(name), name])).values()];
    const rows = await this.db.hot<KeyRow & KeyName>(
      'read idempotency keys',
      `SELECT k.organization_id AS "organizationId", k.user_id AS "userId", k.key, k.call_id AS "callId", encode(k.input_hash, 'hex') AS "inputHash", k.first_used_at AS "firstUsedAt",
         k.expires_at IS NOT NULL AS ended, coalesce(k.expires_at <= weir.now(), false) AS expired, k.stored
       FROM unnest($1::text[], $2::text[], $3::text[]) AS asked(organization_id, user_id, key)
       JOIN idempotency_keys AS k ON k.organization_id = asked.organization_id AND k.user_id = asked.user_id AND k.key = asked.key`,
      [
        asked.map(({ organizationId }) => organizationId),
        asked.map(({ userId }) => userId),
        asked.map(({ key }) => key),
      ],
    );
    const found = new Map(rows.map((row) => [idOf(row), row]));
    return names.map((name) => found.get(idOf(name)) ?? null);
  }
}

/** A key has no NUL in it (validate-input.ts). */
const idOf = ({ userId, key }: KeyName): string => `${userId}\0${key}`;
