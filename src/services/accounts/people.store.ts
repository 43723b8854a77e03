import type { Tx } from '../../database/pool';
import { notifyAlerts } from '../../database/alert-notice';
import { inScope, organizationsOf, type Scope } from './scope';
import type { OrganizationRow, ProjectRow, Role, UserRow } from '../../domain/principal';

interface Row {
  id: string;
  organization_id: string;
  name: string;
  email: string | null;
  external_id: string | null;
  role: Role;
  plan_id: string;
  blocked: boolean;
  created_at: Date;
  deleted_at: Date | null;
}
const COLUMNS = 'id, organization_id, name, email, external_id, role, plan_id, blocked, created_at, deleted_at';
/** Microseconds since 1970: the precision that Postgres keeps, exact in a number. */
const MICROS = '(extract(epoch FROM created_at) * 1000000)::bigint';
const AFTER = (micros: string, id: string): string =>
  `(${micros}::bigint IS NULL OR (created_at, id) > (timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond', ${id}::text))`;

export interface StoredUser extends UserRow {
  deleted: boolean;
}
/** Place in a list by time of creation. */
export interface After {
  micros: number;
  id: string;
}
export type Listed<T> = T & { micros: number };

const toUser = (row: Row): StoredUser => ({
  id: row.id,
  organizationId: row.organization_id,
  name: row.name,
  email: row.email,
  externalId: row.external_id,
  role: row.role,
  planId: row.plan_id,
  blocked: row.blocked,
  createdAt: row.created_at,
  deleted: row.deleted_at !== null,
});
const toProject = (row: { id: string; organization_id: string; name: string }): ProjectRow => ({
  id: row.id,
  organizationId: row.organization_id,
  name: row.name,
});

export class PeopleStore {
  /** Deleted users too: as the empty rows that they are. */
  async users(tx: Tx, scope: Scope, ids: readonly string[]): Promise<Map<string, StoredUser>> {
    const organizations = await organizationsOf(tx, 'users', scope, ids);
    const rows = await tx.query<Row>(`SELECT ${COLUMNS} FROM users WHERE organization_id = ANY($1) AND id = ANY($2)`, [
      organizations,
      ids,
    ]);
    return new Map(rows.map((row) => [row.id, toUser(row)]));
  }

  /** A user that is there, kept from other changes until the transaction ends. */
  async lockUser(tx: Tx, scope: Scope, id: string): Promise<UserRow | null> {
    const [organization] = await organizationsOf(tx, 'users', scope, [id]);
    const [row] = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM users WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE`,
      [organization ?? null, id],
    );
    return row ? toUser(row) : null;
  }

  async listUsers(
    tx: Tx,
    scope: Scope,
    search: string | null,
    after: After | null,
    limit: number,
  ): Promise<Listed<UserRow>[]> {
    const pattern = search === null ? null : `%${search.replace(/[\\%_]/g, '\\$&')}%`;
    const rows = await tx.query<Row & { micros: string }>(
      `SELECT ${COLUMNS}, ${MICROS} AS micros FROM users
       WHERE ${inScope(scope, '$1')} AND deleted_at IS NULL AND ($2::text IS NULL OR name ILIKE $2 OR email ILIKE $2)
         AND ${AFTER('$3', '$4')}
       ORDER BY created_at, id LIMIT $5`,
      [scope, pattern, after?.micros ?? null, after?.id ?? null, limit],
    );
    return rows.map((row) => ({ ...toUser(row), micros: Number(row.micros) }));
  }

  /** null: another user of the organisation has the external id. */
  async insertUser(tx: Tx, user: Omit<UserRow, 'createdAt' | 'blocked'>): Promise<UserRow | null> {
    await tx.query('SELECT weir.put_user($1, $2, $3, $4, $5, $6, $7)', [
      user.organizationId,
      user.id,
      user.name,
      user.email,
      user.externalId,
      user.role,
      user.planId,
    ]);
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM users WHERE organization_id = $1 AND id = $2`, [
      user.organizationId,
      user.id,
    ]);
    // Not there: another user of the organisation has the external id.
    return row ? toUser(row) : null;
  }

  /** With the budget of another plan. */
  async updateUser(
    tx: Tx,
    { organizationId, id }: Pick<UserRow, 'organizationId' | 'id'>,
    user: Pick<UserRow, 'role' | 'planId' | 'blocked'>,
  ): Promise<UserRow> {
    await tx.query(`SELECT ${notifyAlerts('weir.change_user($1, $2, $3, $4, $5)')}`, [
      organizationId,
      id,
      user.role,
      user.planId,
      user.blocked,
    ]);
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM users WHERE organization_id = $1 AND id = $2`, [
      organizationId,
      id,
    ]);
    return toUser(row!);
  }

  /** Leaves the row, for the figures, and takes the person out of it. */
  async eraseUser(
    tx: Tx,
    { organizationId, id }: Pick<UserRow, 'organizationId' | 'id'>,
    erasedSubject: Buffer | null,
  ): Promise<void> {
    await tx.query('SELECT weir.erase_user($1, $2, $3)', [organizationId, id, erasedSubject]);
    await this.eraseConversations(tx, organizationId, id);
  }

  async eraseConversations(tx: Tx, organizationId: string, userId: string): Promise<void> {
    await tx.query('DELETE FROM conversations WHERE organization_id = $1 AND user_id = $2', [organizationId, userId]);
    // Answers that are stored for repetitions. Keys are locked in their order, as everywhere.
    await tx.query(
      'SELECT FROM idempotency_keys WHERE organization_id = $1 AND user_id = $2 ORDER BY user_id, key FOR UPDATE',
      [organizationId, userId],
    );
    await tx.query('DELETE FROM idempotency_keys WHERE organization_id = $1 AND user_id = $2', [
      organizationId,
      userId,
    ]);
  }

  /**
   * Operators besides this one who can still log in. Whoever asks has the answer for itself until its transaction ends.
   */
  async otherOperators(tx: Tx, userId: string): Promise<number> {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtext('weir.operators'))`);
    const [row] = await tx.query<{ count: string }>(
      `SELECT count(*) FROM users WHERE role = 'OPERATOR' AND NOT blocked AND deleted_at IS NULL AND id <> $1`,
      [userId],
    );
    return Number(row!.count);
  }

  async organizations(tx: Tx, ids: readonly string[]): Promise<Map<string, OrganizationRow>> {
    const rows = await tx.query<OrganizationRow>('SELECT id, name FROM organizations WHERE id = ANY($1)', [ids]);
    return new Map(rows.map((row) => [row.id, row]));
  }

  /** At most two: by id or name; null: any. */
  async organizationsNamed(tx: Tx, idOrName: string | null): Promise<OrganizationRow[]> {
    return tx.query<OrganizationRow>(
      'SELECT id, name FROM organizations WHERE $1::text IS NULL OR name = $1 OR id = $1 ORDER BY id LIMIT 2',
      [idOrName],
    );
  }

  async insertOrganization(tx: Tx, row: OrganizationRow): Promise<void> {
    await tx.query('INSERT INTO organizations (id, name) VALUES ($1, $2)', [row.id, row.name]);
  }

  async projects(tx: Tx, scope: Scope, ids: readonly string[]): Promise<Map<string, ProjectRow>> {
    const organizations = await organizationsOf(tx, 'projects', scope, ids);
    const rows = await tx.query<{ id: string; organization_id: string; name: string }>(
      'SELECT id, organization_id, name FROM projects WHERE organization_id = ANY($1) AND id = ANY($2)',
      [organizations, ids],
    );
    return new Map(rows.map((row) => [row.id, toProject(row)]));
  }

  async listProjects(tx: Tx, scope: Scope, after: After | null, limit: number): Promise<Listed<ProjectRow>[]> {
    const rows = await tx.query<{ id: string; organization_id: string; name: string; micros: string }>(
      `SELECT id, organization_id, name, ${MICROS} AS micros FROM projects
       WHERE ${inScope(scope, '$1')} AND ${AFTER('$2', '$3')} ORDER BY created_at, id LIMIT $4`,
      [scope, after?.micros ?? null, after?.id ?? null, limit],
    );
    return rows.map((row) => ({ ...toProject(row), micros: Number(row.micros) }));
  }

  async insertProject(tx: Tx, row: ProjectRow): Promise<void> {
    await tx.query('INSERT INTO projects (organization_id, id, name) VALUES ($1, $2, $3)', [
      row.organizationId,
      row.id,
      row.name,
    ]);
  }
}
