import type { Tx } from '../../entities/data-source';
import type { ApiTokenRow } from './viewer.types';

interface Row { id: string; user_id: string; name: string; hint: string; created_at: Date; last_used_at: Date | null; expires_at: Date | null; revoked_at: Date | null }
const COLUMNS = 'id, user_id, name, hint, created_at, last_used_at, expires_at, revoked_at';
const toToken = (row: Row): ApiTokenRow => ({
  id: row.id,
  userId: row.user_id,
  name: row.name,
  hint: row.hint,
  createdAt: row.created_at,
  lastUsedAt: row.last_used_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
});

export class TokenStore {
  async find(tx: Tx, id: string): Promise<ApiTokenRow | null> {
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM api_tokens WHERE id = $1`, [id]);
    return row ? toToken(row) : null;
  }

  /** Newest first, at most `limit` of each user. */
  async ofUsers(tx: Tx, userIds: readonly string[], limit: number): Promise<Map<string, ApiTokenRow[]>> {
    const rows = await tx.query<Row>(
      `SELECT t.* FROM unnest($1::text[]) AS u(id)
       CROSS JOIN LATERAL (SELECT ${COLUMNS} FROM api_tokens WHERE user_id = u.id ORDER BY created_at DESC, id DESC LIMIT $2) t`,
      [[...new Set(userIds)], limit],
    );
    const tokens = new Map<string, ApiTokenRow[]>(userIds.map((id) => [id, []]));
    for (const row of rows) tokens.get(row.user_id)!.push(toToken(row));
    return tokens;
  }

  async countGood(tx: Tx, userId: string): Promise<number> {
    const [row] = await tx.query<{ count: string }>('SELECT count(*) FROM api_tokens WHERE user_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > weir.now())', [userId]);
    return Number(row!.count);
  }

  async insert(tx: Tx, token: { organizationId: string; id: string; userId: string; createdBy: string | null; name: string; hash: Buffer; hint: string; expiresAt: Date | null }): Promise<ApiTokenRow> {
    await tx.query('SELECT weir.put_token($1, $2, $3, $4, $5, $6, $7, $8)', [
      token.organizationId, token.id, token.userId, token.name, token.hash, token.hint, token.expiresAt, token.createdBy,
    ]);
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM api_tokens WHERE organization_id = $1 AND id = $2`, [token.organizationId, token.id]);
    return toToken(row!);
  }

  /** Once revoked, the time stays. */
  async revoke(tx: Tx, id: string): Promise<ApiTokenRow> {
    const [row] = await tx.query<Row>(`UPDATE api_tokens SET revoked_at = coalesce(revoked_at, weir.now()) WHERE id = $1 RETURNING ${COLUMNS}`, [id]);
    return toToken(row!);
  }
}
