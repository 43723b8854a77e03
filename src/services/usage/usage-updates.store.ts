import type { Db } from '../../database/pool';
import type { Role } from '../../domain/principal';

/** A user as it is now. */
export interface Looker {
  organizationId: string;
  role: Role;
}

/** Whose totals of today those who listen may see. */
export class UsageUpdatesStore {
  constructor(private readonly db: Db) {}

  /** Users as they are now; those that were blocked or deleted are not among them. */
  async lookers(users: readonly { userId: string; organizationId: string }[]): Promise<Map<string, Looker>> {
    const rows = await this.db.query<{ id: string; organization_id: string; role: Role }>(
      `SELECT u.id, u.organization_id, u.role FROM unnest($1::text[], $2::text[]) AS x (organization_id, id)
       JOIN users AS u ON u.organization_id = x.organization_id AND u.id = x.id WHERE NOT u.blocked AND u.deleted_at IS NULL`,
      [users.map(({ organizationId }) => organizationId), users.map(({ userId }) => userId)],
    );
    return new Map(rows.map((row) => [row.id, { organizationId: row.organization_id, role: row.role }]));
  }
}
