import type { Db, Tx } from '../../database/pool';
import { newId } from '../../lib/ids';
import type { Role, UserRef } from '../../domain/principal';

export interface TokenOwner {
  tokenId: string;
  lastUsedAt: Date | null;
  expiresAt: Date | null;
  userId: string;
  organizationId: string;
  role: Role;
  planId: string;
}
export interface KnownUser {
  id: string;
  organizationId: string;
  name: string;
  email: string | null;
  role: Role;
  planId: string;
  blocked: boolean;
}
interface UserRow {
  id: string;
  organization_id: string;
  name: string;
  email: string | null;
  role: Role;
  plan_id: string;
  blocked: boolean;
}

/** Only credentials that are good now: not revoked, not expired, of a user who is neither blocked nor deleted. */
const GOOD_TOKEN = 't.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > weir.now())';
const GOOD_USER = 'NOT u.blocked AND u.deleted_at IS NULL';

export class AuthStore {
  async ownerOf(db: Pick<Db, 'hot'>, hash: Buffer): Promise<TokenOwner | null> {
    const [row] = await db.hot<{
      token_id: string;
      last_used_at: Date | null;
      expires_at: Date | null;
      user_id: string;
      organization_id: string;
      role: Role;
      plan_id: string;
    }>(
      'weir_auth_token',
      `SELECT t.id AS token_id, t.last_used_at, t.expires_at, u.id AS user_id, u.organization_id, u.role, u.plan_id
       FROM token_directory d
       JOIN api_tokens t ON t.organization_id = d.organization_id AND t.id = d.token_id
       JOIN users u ON u.organization_id = d.organization_id AND u.id = t.user_id
       WHERE d.hash = $1 AND ${GOOD_TOKEN} AND ${GOOD_USER}`,
      [hash],
    );
    return row
      ? {
          tokenId: row.token_id,
          lastUsedAt: row.last_used_at,
          expiresAt: row.expires_at,
          userId: row.user_id,
          organizationId: row.organization_id,
          role: row.role,
          planId: row.plan_id,
        }
      : null;
  }

  /** Users that are still good, each with those of the tokens that are. */
  async stillGood(
    db: Pick<Db, 'hot'>,
    organizationIds: string[],
    userIds: string[],
    tokenIds: string[],
  ): Promise<{ users: Set<string>; tokens: Set<string> }> {
    const rows = await db.hot<{ user_id: string; token_ids: string[] }>(
      'weir_auth_still_good',
      `SELECT u.id AS user_id, ARRAY(
         SELECT t.id FROM api_tokens t
         WHERE t.organization_id = u.organization_id AND t.user_id = u.id AND t.id = ANY($3) AND ${GOOD_TOKEN}) AS token_ids
       FROM users u WHERE u.organization_id = ANY($1) AND u.id = ANY($2) AND ${GOOD_USER}`,
      [organizationIds, userIds, tokenIds],
    );
    return { users: new Set(rows.map((row) => row.user_id)), tokens: new Set(rows.flatMap((row) => row.token_ids)) };
  }

  /** Once a minute is exact enough. Rows that another replica is writing are its business. */
  async touch(tx: Tx, tokens: { organizationIds: string[]; ids: string[] }): Promise<void> {
    await tx.query(
      `UPDATE api_tokens AS t SET last_used_at = weir.now()
       FROM (
         SELECT organization_id, id FROM api_tokens
         WHERE organization_id = ANY($1) AND id = ANY($2) AND (last_used_at IS NULL OR last_used_at < weir.now() - interval '1 minute')
         ORDER BY id FOR UPDATE SKIP LOCKED) AS used
       WHERE t.organization_id = used.organization_id AND t.id = used.id`,
      [tokens.organizationIds, tokens.ids],
    );
  }

  /** By id, else by name where only one has it; without a name the only one there is. */
  async organizationId(tx: Tx, idOrName: string | null): Promise<string | null> {
    const rows =
      idOrName === null
        ? await tx.query<{ id: string }>('SELECT id FROM organizations ORDER BY id LIMIT 2')
        : await tx.query<{ id: string; exact: boolean }>(
            'SELECT id FROM organizations WHERE id = $1 OR name = $1 ORDER BY id <> $1 LIMIT 2',
            [idOrName],
          );
    return rows.length === 1 || (idOrName !== null && rows[0]?.id === idOrName) ? rows[0]!.id : null;
  }

  async userByExternalId(tx: Tx, organizationId: string, externalId: string): Promise<KnownUser | null> {
    const [row] = await tx.query<UserRow>(
      'SELECT id, organization_id, name, email, role, plan_id, blocked FROM users WHERE organization_id = $1 AND external_id = $2 AND deleted_at IS NULL',
      [organizationId, externalId],
    );
    return row
      ? {
          id: row.id,
          organizationId: row.organization_id,
          name: row.name,
          email: row.email,
          role: row.role,
          planId: row.plan_id,
          blocked: row.blocked,
        }
      : null;
  }

  /** Was this subject deleted after the time? (milliseconds) */
  async erasedSince(tx: Tx, organizationId: string, subject: Buffer, timeMs: number): Promise<boolean> {
    const rows = await tx.query(
      `SELECT 1 FROM users
       WHERE organization_id = $1 AND erased_subject = $2 AND deleted_at >= to_timestamp($3::double precision / 1000) LIMIT 1`,
      [organizationId, subject, timeMs],
    );
    return rows.length > 0;
  }

  /** The first writer wins: several first calls at once make one user. */
  async insertUser(
    tx: Tx,
    user: {
      organizationId: string;
      externalId: string;
      name: string;
      email: string | null;
      role: Role;
      planId: string;
    },
  ): Promise<void> {
    await tx.query('SELECT weir.put_user($1, $2, $3, $4, $5, $6, $7)', [
      user.organizationId,
      newId('user'),
      user.name,
      user.email,
      user.externalId,
      user.role,
      user.planId,
    ]);
  }

  async updateUser(tx: Tx, user: UserRef, profile: { name: string; email: string | null; role: Role }): Promise<void> {
    await tx.query(
      'UPDATE users SET name = $3, email = $4, role = $5 WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL',
      [user.organizationId, user.id, profile.name, profile.email, profile.role],
    );
  }
}
