import type { Db, Tx } from '../../database/pool';
import type { UserRef, Viewer, VirtualKeyInfo } from '../../domain/principal';

/** Whose key it is. */
export type KeyOwner = Pick<Viewer, 'organizationId' | 'userId'>;

/** What the proxy was last told of a key, beside what the user's row asks for. */
export interface KeyRow {
  organizationId: string;
  userId: string;
  secret: Buffer;
  confirmed: boolean;
  /** As confirmed by the proxy. */
  planId: string;
  blocked: boolean;
  wanted: { planId: string; blocked: boolean; deleted: boolean };
}

interface Row {
  organization_id: string;
  user_id: string;
  secret: Buffer;
  confirmed: boolean;
  plan_id: string;
  blocked: boolean;
  wanted_plan_id: string;
  wanted_blocked: boolean;
  deleted: boolean;
}
const COLUMNS = `k.organization_id, k.user_id, k.secret, k.confirmed, k.plan_id, k.blocked, u.plan_id AS wanted_plan_id, u.blocked AS wanted_blocked, u.deleted_at IS NOT NULL AS deleted`;
const toKeyRow = (row: Row): KeyRow => ({
  organizationId: row.organization_id,
  userId: row.user_id,
  secret: row.secret,
  confirmed: row.confirmed,
  planId: row.plan_id,
  blocked: row.blocked,
  wanted: { planId: row.wanted_plan_id, blocked: row.wanted_blocked, deleted: row.deleted },
});

export class KeyStore {
  async installationId(tx: Tx): Promise<string> {
    const [row] = await tx.query<{ id: string }>('SELECT id FROM installation');
    return row!.id;
  }

  async read(tx: Tx, { organizationId, userId }: KeyOwner): Promise<KeyRow | null> {
    const [row] = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM virtual_keys k JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
       WHERE k.organization_id = $1 AND k.user_id = $2`,
      [organizationId, userId],
    );
    return row ? toKeyRow(row) : null;
  }

  /** The first writer's secret wins; nothing is written for a user who is gone. */
  async claim(tx: Tx, { organizationId, userId }: KeyOwner, secret: Buffer, hint: string): Promise<void> {
    await tx.query(
      `INSERT INTO virtual_keys (organization_id, user_id, secret, hint, plan_id)
       SELECT organization_id, id, $3, $4, plan_id FROM users WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
       ON CONFLICT (organization_id, user_id) DO NOTHING`,
      [organizationId, userId, secret, hint],
    );
  }

  /** Another secret, which the proxy does not have yet. The first to replace `old` wins. */
  async replace(
    tx: Tx,
    { organizationId, userId }: KeyOwner,
    old: Buffer,
    secret: Buffer,
    hint: string,
  ): Promise<void> {
    await tx.query(
      `UPDATE virtual_keys SET secret = $4, hint = $5, confirmed = false, rotated_at = weir.now()
       WHERE organization_id = $1 AND user_id = $2 AND secret = $3`,
      [organizationId, userId, old, secret, hint],
    );
  }

  /**
   * The proxy has the key in this plan's team, not blocked. Returns the row as it is now; null: it was removed
   * meanwhile.
   */
  async confirm(tx: Tx, owner: KeyOwner, planId: string): Promise<KeyRow | null> {
    await tx.query(
      `UPDATE virtual_keys SET confirmed = true, plan_id = $3, blocked = false
       WHERE organization_id = $1 AND user_id = $2 AND NOT confirmed`,
      [owner.organizationId, owner.userId, planId],
    );
    return this.read(tx, owner);
  }

  async told(tx: Tx, { organizationId, userId }: KeyOwner, state: { planId: string; blocked: boolean }): Promise<void> {
    await tx.query('UPDATE virtual_keys SET plan_id = $3, blocked = $4 WHERE organization_id = $1 AND user_id = $2', [
      organizationId,
      userId,
      state.planId,
      state.blocked,
    ]);
  }

  /** The proxy does not have the key. */
  async unconfirm(tx: Tx, { organizationId, userId }: KeyOwner): Promise<void> {
    await tx.query('UPDATE virtual_keys SET confirmed = false WHERE organization_id = $1 AND user_id = $2', [
      organizationId,
      userId,
    ]);
  }

  async remove(tx: Tx, { organizationId, userId }: KeyOwner): Promise<void> {
    await tx.query('DELETE FROM virtual_keys WHERE organization_id = $1 AND user_id = $2', [organizationId, userId]);
  }

  /** Users, of any organisation, whose key at the proxy is not yet what it should be. */
  async pending(tx: Tx, limit: number): Promise<KeyOwner[]> {
    const rows = await tx.query<{ organization_id: string; user_id: string }>(
      `SELECT k.organization_id, k.user_id
       FROM virtual_keys k JOIN users u ON u.organization_id = k.organization_id AND u.id = k.user_id
       WHERE u.deleted_at IS NOT NULL OR (k.confirmed AND (k.plan_id <> u.plan_id OR k.blocked <> u.blocked))
       ORDER BY k.user_id LIMIT $1`,
      [limit],
    );
    return rows.map((row) => ({ organizationId: row.organization_id, userId: row.user_id }));
  }

  async infoOf(tx: Tx, users: readonly UserRef[]): Promise<Map<string, VirtualKeyInfo>> {
    const rows = await tx.query<{
      user_id: string;
      hint: string;
      created_at: Date;
      rotated_at: Date | null;
      blocked: boolean;
    }>(
      `SELECT user_id, hint, created_at, rotated_at, blocked FROM virtual_keys
       WHERE organization_id = ANY($1) AND user_id = ANY($2) AND confirmed`,
      [[...new Set(users.map(({ organizationId }) => organizationId))], users.map(({ id }) => id)],
    );
    return new Map(
      rows.map((row) => [
        row.user_id,
        { hint: row.hint, createdAt: row.created_at, rotatedAt: row.rotated_at, blocked: row.blocked },
      ]),
    );
  }

  /** Models that the proxy was last told for a plan's team, sorted; null: it was told nothing yet. */
  async teamModels(tx: Tx, planId: string): Promise<string[] | null> {
    const [row] = await tx.query<{ models: string[] }>('SELECT models FROM proxy_teams WHERE plan_id = $1', [planId]);
    return row?.models ?? null;
  }

  async writeTeam(tx: Tx, planId: string, models: string[]): Promise<void> {
    await tx.query(
      `INSERT INTO proxy_teams (plan_id, models) VALUES ($1, $2)
       ON CONFLICT (plan_id) DO UPDATE SET models = excluded.models, synced_at = weir.now()`,
      [planId, models],
    );
  }

  /**
   * Work that only one replica does at a time, for each subject. The lock is held while the proxy answers:
   * administration is rare, and two replicas that tell the proxy different things must not overtake each other.
   */
  async alone<T>(db: Db, subject: string, work: (tx: Tx) => Promise<T>): Promise<T> {
    return db.transaction(async (tx) => {
      await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 4761100))`, [subject]);
      return work(tx);
    });
  }
}
