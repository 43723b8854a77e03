import type { Db } from '../../entities/data-source';
import type { Role } from '../viewer/viewer.types';

/** A user as it is now. */
export interface Looker { organizationId: string; role: Role }

/** Whose totals of today those who listen may see. */
export class UsageUpdatesStore {
  constructor(private readonly db: Db) {}

  /** Users as they are now; those that were blocked or deleted are not among them. */
  async lookers(userIds: readonly string[]): Promise<Map<string, Looker>> {
    const rows = await this.db.query<{ id: string; organization_id: string; role: Role }>('SELECT id, organization_id, role FROM users WHERE id = ANY($1) AND NOT blocked AND deleted_at IS NULL', [userIds]);
    return new Map(rows.map((row) => [row.id, { organizationId: row.organization_id, role: row.role }]));
  }
}
