import type { Tx } from '../../database/pool';
import { organizationsOf, type Scope } from './scope';
import type { ApiTokenRow, UserRef } from '../../domain/principal';

interface Row {
  organization_id: string;
  id: string;
  user_id: string;
  name: string;
  hint: string;
  created_at: Date;
  last_used_at: Date | null;
  expires_at: Date | null;
  revoked_at: Date | null;
}
const COLUMNS = 'organization_id, id, user_id, name, hint, created_at, last_used_at, expires_at, revoked_at';
const toToken = (row: Row): ApiTokenRow => ({
  id: row.id,
  organizationId: row.organization_id,
  userId: row.user_id,
  name: row.name,
  hint: row.hint,
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
});

export class TokenStore {
  async find(tx: Tx, scope: Scope, id: string): Promise<ApiTokenRow | null> {
    const [organization] = await organizationsOf(tx, 'api_tokens', scope, [id]);
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM api_tokens WHERE organization_id = $1 AND id = $2`, [
      organization ?? null,
      id,
    ]);
    return row ? toToken(row) : null;
  }

  /** Newest first, at most `limit` of each user. */
  async ofUsers(tx: Tx, users: readonly UserRef[], limit: number): Promise<Map<string, ApiTokenRow[]>> {
    const rows = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM (
         SELECT ${COLUMNS}, row_number() OVER (PARTITION BY organization_id, user_id ORDER BY created_at DESC, id DESC) AS place
         FROM api_tokens WHERE organization_id = ANY($1) AND user_id = ANY($2)) AS t
       WHERE place <= $3 ORDER BY user_id, place`,
      [[...new Set(users.map(({ organizationId }) => organizationId))], [...new Set(users.map(({ id }) => id))], limit],
    );
    const tokens = new Map<string, ApiTokenRow[]>(users.map(({ id }) => [id, []]));
    for (const row of rows) tokens.get(row.user_id)!.push(toToken(row));
    return tokens;
  }

  async countGood(tx: Tx, user: UserRef): Promise<number> {
    const [row] = await tx.query<{ count: string }>(
      `SELECT count(*) FROM api_tokens
       WHERE organization_id = $1 AND user_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > weir.now())`,
      [user.organizationId, user.id],
    );
    return Number(row!.count);
  }

  async insert(
    tx: Tx,
    token: {
      organizationId: string;
      id: string;
      userId: string;
      createdBy: string | null;
      name: string;
      hash: Buffer;
      hint: string;
      expiresAt: Date | null;
    },
  ): Promise<ApiTokenRow> {
    await tx.query('SELECT weir.put_token($1, $2, $3, $4, $5, $6, $7, $8)', [
      token.organizationId,
      token.id,
      token.userId,
      token.name,
      token.hash,
      token.hint,
      token.expiresAt,
      token.createdBy,
    ]);
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM api_tokens WHERE organization_id = $1 AND id = $2`, [
      token.organizationId,
      token.id,
    ]);
    return toToken(row!);
  }

  /** Once revoked, the time stays. */
  async revoke(tx: Tx, { organizationId, id }: Pick<ApiTokenRow, 'organizationId' | 'id'>): Promise<ApiTokenRow> {
    const [row] = await tx.query<Row>(
      `UPDATE api_tokens SET revoked_at = coalesce(revoked_at, weir.now()) WHERE organization_id = $1 AND id = $2 RETURNING ${COLUMNS}`,
      [organizationId, id],
    );
    return toToken(row!);
  }
}
