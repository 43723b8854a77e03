import type { Db } from '../../database/pool';

export interface SeenOwner {
  id: string;
  /** A bigint, as text: only compared. */
  renewals: string;
  dead: boolean;
}

const RENEW = `
  WITH before AS (SELECT dead_at IS NOT NULL AS dead FROM owners WHERE id = $1)
  INSERT INTO owners (id) VALUES ($1)
  ON CONFLICT (id) DO UPDATE SET renewals = owners.renewals + 1, renewed_at = weir.now(), dead_at = NULL
  RETURNING coalesce((SELECT dead FROM before), false) AS "wasDead"`;

/** Not renewed even once: whoever it is has as long as anybody to say that it lives. */
const ADOPT = `
  INSERT INTO owners (id, renewals)
  SELECT DISTINCT owner, -1 FROM calls_in_flight AS f WHERE NOT EXISTS (SELECT FROM owners AS o WHERE o.id = f.owner) ORDER BY owner
  ON CONFLICT (id) DO NOTHING`;

/**
 * Rows of processes that run calls. On the connections of the data path: a slow report must not make a living process
 * look dead.
 */
export class OwnersStore {
  constructor(private readonly db: Db) {}

  /** The id of this database, made with it. */
  async installation(): Promise<string> {
    const [row] = await this.db.query<{ id: string }>('SELECT id FROM installation');
    return row!.id;
  }

  /** Says that this process lives. true: others had declared it dead. */
  async renew(owner: string): Promise<boolean> {
    const [row] = await this.db.hot<{ wasDead: boolean }>('owners-renew', RENEW, [owner]);
    return row!.wasDead;
  }

  /** All owners, those included that have calls in flight and no row. */
  async list(): Promise<SeenOwner[]> {
    await this.db.hot('owners-adopt', ADOPT, []);
    return this.db.hot<SeenOwner>(
      'owners-list',
      'SELECT id, renewals::text AS renewals, dead_at IS NOT NULL AS dead FROM owners',
      [],
    );
  }

  /** Declares an owner dead that has not renewed since it was seen. false: it has, or somebody else was faster. */
  async declareDead(id: string, renewals: string): Promise<boolean> {
    const rows = await this.db.hot(
      'owners-declare',
      'UPDATE owners SET dead_at = weir.now() WHERE id = $1 AND renewals = $2::bigint AND dead_at IS NULL RETURNING id',
      [id, renewals],
    );
    return rows.length > 0;
  }

  /** A clean end. With calls still in flight the row stays, and others declare it dead in their time. */
  async leave(owner: string): Promise<void> {
    await this.db.hot(
      'owners-leave',
      'DELETE FROM owners WHERE id = $1 AND NOT EXISTS (SELECT FROM calls_in_flight AS f WHERE f.owner = $1)',
      [owner],
    );
  }

  /** Rows of the dead that nothing points to any more. */
  async forget(): Promise<void> {
    await this.db.hot(
      'owners-forget',
      `DELETE FROM owners AS o WHERE o.dead_at < weir.now() - interval '1 hour' AND NOT EXISTS (SELECT FROM calls_in_flight AS f WHERE f.owner = o.id)`,
      [],
    );
  }
}
