import { escapeIdentifier, escapeLiteral } from 'pg';
import type { Db, Tx } from '../../entities/data-source';

export interface SqlRole { name: string; organizationId: string | null; organizationName: string | null; createdAt: Date }
/** What is wrong with a role that is to read: rights that row security does not bound. */
export interface Excess { isPrivileged: boolean; creates: string[]; reads: string[]; writes: string[] }

/** Connections of one role at a time: whoever reads must not take those of the application. */
const CONNECTIONS = 10;
/** Defaults of the role's sessions, not bounds: a session may set them otherwise. What bounds it are its rights. */
const SETTINGS: Record<string, string> = {
  default_transaction_read_only: 'on',
  statement_timeout: '60s',
  idle_in_transaction_session_timeout: '60s',
  search_path: 'analytics',
  TimeZone: 'UTC',
};

const id = escapeIdentifier;

/** The statements that make the group of all readers. */
export const groupStatements = (group: string): string[] => [`CREATE ROLE ${id(group)} NOLOGIN`];

/** The statements that make a role that may log in and is a member of the group. `verifier`: what Postgres keeps of its password. */
export const roleStatements = (name: string, verifier: string, group: string): string[] => [
  `CREATE ROLE ${id(name)} LOGIN PASSWORD ${escapeLiteral(verifier)} CONNECTION LIMIT ${CONNECTIONS}`,
  ...Object.entries(SETTINGS).map(([setting, value]) => `ALTER ROLE ${id(name)} SET ${setting} = ${escapeLiteral(value)}`),
  memberStatement(name, group),
];
export const memberStatement = (name: string, group: string): string => `GRANT ${id(group)} TO ${id(name)}`;
export const dropStatement = (name: string): string => `DROP ROLE ${id(name)}`;

/**
 * For a superuser, in our database: functions that everybody may execute by default go to the application alone. With advisory locks, which we use
 * as well, a reader could keep every call from being settled; large objects are the one thing that it could write.
 */
export const reserveFunctions = (owner: string): string => `DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^(pg_(try_)?advisory_.*|lo_.*|lowrite)$' LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f, ${escapeLiteral(owner)});
  END LOOP;
END $$`;

export class SqlRoleStore {
  async organizationsNamed(tx: Tx, nameOrId: string): Promise<{ id: string; name: string }[]> {
    return tx.query('SELECT id, name FROM organizations WHERE id = $1 OR name = $1', [nameOrId]);
  }

  async list(db: Db): Promise<SqlRole[]> {
    return db.query(
      'SELECT r.name, r.organization_id AS "organizationId", o.name AS "organizationName", r.created_at AS "createdAt" FROM sql_roles AS r LEFT JOIN organizations AS o ON o.id = r.organization_id ORDER BY r.created_at, r.name',
    );
  }

  async group(tx: Tx): Promise<{ name: string; exists: boolean }> {
    const [row] = await tx.query<{ name: string; exists: boolean }>('SELECT g.name, EXISTS (SELECT FROM pg_roles WHERE rolname = g.name) AS exists FROM (SELECT weir.reader_group() AS name) AS g');
    return row!;
  }

  /** null: there is no such role. */
  async isMember(tx: Tx, name: string, group: string): Promise<boolean | null> {
    const [row] = await tx.query<{ member: boolean }>(`SELECT pg_has_role(oid, $2, 'USAGE') AS member FROM pg_roles WHERE rolname = $1`, [name, group]);
    return row?.member ?? null;
  }

  async run(tx: Tx, statements: readonly string[]): Promise<void> {
    for (const statement of statements) await tx.query(statement);
  }

  /** Somebody else may be making the same group at the same server. */
  async makeGroup(tx: Tx, group: string): Promise<void> {
    await tx.query('SAVEPOINT making_group');
    try {
      await this.run(tx, groupStatements(group));
    } catch (error) {
      // duplicate_object, unique_violation
      if (!['42710', '23505'].includes((error as { code?: string }).code ?? '')) throw error;
      await tx.query('ROLLBACK TO SAVEPOINT making_group');
    }
  }

  /** Gives the group its rights on tables, views and functions. */
  async grant(tx: Tx): Promise<void> {
    await tx.query('SELECT weir.grant_readers()');
  }

  async insert(tx: Tx, name: string, organizationId: string | null): Promise<boolean> {
    return (await tx.query('INSERT INTO sql_roles (name, organization_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name', [name, organizationId])).length === 1;
  }

  async remove(tx: Tx, name: string): Promise<boolean> {
    return (await tx.query('DELETE FROM sql_roles WHERE name = $1 RETURNING name', [name])).length === 1;
  }

  /** Who owns the tables, and whether the role may keep locks that the owner needs. */
  async mayLock(db: Db, name: string): Promise<{ owner: string; may: boolean }> {
    const [row] = await db.query<{ owner: string; may: boolean }>(
      `SELECT pg_get_userbyid(relowner)::text AS owner, has_function_privilege($1, 'pg_catalog.pg_advisory_lock(bigint)', 'EXECUTE') AS may FROM pg_class WHERE oid = 'public.llm_usage'::regclass`,
      [name],
    );
    return row!;
  }

  async mayConnect(tx: Tx, name: string): Promise<boolean> {
    const [row] = await tx.query<{ may: boolean }>(`SELECT has_database_privilege($1, current_database(), 'CONNECT') AS may`, [name]);
    return row!.may;
  }

  /** Rights that the role has from elsewhere (PUBLIC, another group) and that reach further than row security. */
  async excess(tx: Tx, name: string): Promise<Excess> {
    const [row] = await tx.query<Excess>(
      `WITH ours AS MATERIALIZED (SELECT c.oid, c.relrowsecurity, n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('public', 'weir', 'analytics') AND c.relkind IN ('r', 'p', 'v', 'm'))
       SELECT r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR pg_has_role(r.oid, (SELECT relowner FROM pg_class WHERE oid = 'public.llm_usage'::regclass), 'MEMBER') AS "isPrivileged",
         ARRAY(SELECT n.nspname::text FROM pg_namespace AS n WHERE n.nspname !~ '^pg_(temp|toast_temp)_' AND has_schema_privilege(r.oid, n.oid, 'CREATE')) AS creates,
         ARRAY(SELECT c.oid::regclass::text FROM ours AS c WHERE NOT c.relrowsecurity AND c.nspname = 'public' AND has_any_column_privilege(r.oid, c.oid, 'SELECT')) AS reads,
         ARRAY(SELECT c.oid::regclass::text FROM ours AS c WHERE has_any_column_privilege(r.oid, c.oid, 'INSERT,UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE,TRUNCATE')) AS writes
       FROM pg_roles AS r WHERE r.rolname = $1`,
      [name],
    );
    return row!;
  }

  /** Ends the role's sessions where we may. In PostgreSQL 16 and newer whoever made a role has to make itself a member first. */
  async endSessions(tx: Tx, name: string): Promise<void> {
    await tx.query(`GRANT ${id(name)} TO CURRENT_USER`);
    await tx.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [name]);
  }
}
