import type { Db } from '../../database/pool';
import type { Role } from '../../domain/principal';
import { ALERTS, toAlert, VIEWER, VISIBLE, type AlertRow, type OwnedAlert } from './budget-row.store';
import type { Looker } from './budget.rule';

/**
 * Alerts are only read here. Their times grow in the order in which they are committed: what is later than the last one
 * seen is all that is new.
 */
export class AlertStore {
  constructor(private readonly db: Db) {}

  /** The time of the newest alert; null: there is none. */
  async newest(): Promise<Date | null> {
    const [row] = await this.db.query<{ at: Date | null }>('SELECT max(at) AS at FROM budget_alerts');
    return row!.at;
  }

  /** Of everybody, oldest first. */
  async after(time: Date, limit: number): Promise<OwnedAlert[]> {
    return (await this.db.query<AlertRow>(`${ALERTS} WHERE a.at > $1 ORDER BY a.at LIMIT $2`, [time, limit])).map(
      toAlert,
    );
  }

  /**
   * Those that somebody may see, oldest first, and how far that looked: what is committed later is later than `upTo`.
   */
  async page(looker: Looker, after: Date, limit: number): Promise<{ alerts: OwnedAlert[]; upTo: Date }> {
    const newest = await this.newest();
    if (newest === null || newest <= after) return { alerts: [], upTo: after };
    const rows = await this.db.query<AlertRow>(
      `${ALERTS} WHERE ${VISIBLE} AND a.at > $4 AND a.at <= $5 ORDER BY a.at LIMIT $6`,
      [...VIEWER(looker), after, newest, limit],
    );
    return { alerts: rows.map(toAlert), upTo: newest };
  }

  async find(looker: Looker, id: string): Promise<OwnedAlert | null> {
    const [row] = await this.db.query<AlertRow>(`${ALERTS} WHERE ${VISIBLE} AND a.id = $4`, [...VIEWER(looker), id]);
    return row ? toAlert(row) : null;
  }

  /** Users as they are now; those that were blocked or deleted are not among them. */
  async lookers(userIds: readonly string[]): Promise<Map<string, Looker>> {
    const rows = await this.db.query<{ id: string; organization_id: string; role: Role }>(
      'SELECT id, organization_id, role FROM users WHERE id = ANY($1) AND NOT blocked AND deleted_at IS NULL',
      [userIds],
    );
    return new Map(
      rows.map((row) => [row.id, { userId: row.id, organizationId: row.organization_id, role: row.role }]),
    );
  }
}
