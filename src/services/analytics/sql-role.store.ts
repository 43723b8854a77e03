import { escapeIdentifier, escapeLiteral } from 'pg';
import type { Db, Tx } from '../../database/pool';

/** Who reads by SQL, or did. What a role reads is in its name: sql-role-name.ts. */
export interface SqlRole {
  name: string;
  organizationId: string | null;
  organizationName: string | null;
  /** null: not by this program, or under another name, since when somebody has renamed it. */
  createdAt: Date | null;
  /** It has the right to read. Without it somebody else has taken that back, or dropped the role. */
  reads: boolean;
}
/** What is wrong with a role that is to read: rights that row security does not bound. */
export interface Excess {
  isPrivileged: boolean;
  creates: string[];
  reads: string[];
  writes: string[];
}
/** What a role that only reads could do to the work of others, and what we may do about it. */
export interface Openness {
  /** Of our tables. */
  owner: string;
  database: string;
  /** It may call functions with which it could keep our locks, or write large objects. */
  locks: boolean;
  /** It may make temporary tables. */
  temporary: boolean;
  /** Its queries may fill the disk with temporary files. */
  spills: boolean;
  isSuperuser: boolean;
  ownsDatabase: boolean;
  /** We may give roles a temp_file_limit. */
  maySetLimit: boolean;
}

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
/** Of disk, per session. Only a superuser may set it, and so the role cannot take it back. */
const TEMP_FILES = '1GB';
/** Functions of pg_catalog that everybody may call by default: advisory locks, large objects. */
const RESERVED = '^(pg_(try_)?advisory_.*|lo_.*|lowrite)$';

const id = escapeIdentifier;

/** The statements that make the group of all readers. */
export const groupStatements = (group: string): string[] => [`CREATE ROLE ${id(group)} NOLOGIN`];

/**
 * The statements that make a role that may log in and is a member of the group. `verifier`: what Postgres keeps of its
 * password.
 */
export const roleStatements = (name: string, verifier: string, group: string): string[] => [
  `CREATE ROLE ${id(name)} LOGIN PASSWORD ${escapeLiteral(verifier)} CONNECTION LIMIT ${CONNECTIONS}`,
  ...Object.entries(SETTINGS).map(
    ([setting, value]) => `ALTER ROLE ${id(name)} SET ${setting} = ${escapeLiteral(value)}`,
  ),
  memberStatement(name, group),
];
export const memberStatement = (name: string, group: string): string => `GRANT ${id(group)} TO ${id(name)}`;
export const leaveStatement = (name: string, group: string): string => `REVOKE ${id(group)} FROM ${id(name)}`;
export const endStatement = (name: string): string =>
  `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${escapeLiteral(name)}`;
/** For a superuser. */
export const limitStatement = (name: string): string =>
  `ALTER ROLE ${id(name)} SET temp_file_limit = ${escapeLiteral(TEMP_FILES)}`;
/** For the owner of the database; the owner of the tables keeps the right. */
export const temporaryStatements = (database: string, owner: string): string[] => [
  `GRANT TEMPORARY ON DATABASE ${id(database)} TO ${id(owner)}`,
  `REVOKE TEMPORARY ON DATABASE ${id(database)} FROM PUBLIC`,
];
/**
 * What makes a role one that reads; only the owner of the tables may give it and take it back. Everybody else's is
 * worth nothing: weir.reader().
 */
const RIGHT = 'EXECUTE ON FUNCTION weir.reader()';
/** Roles that have it by themselves, apart from the owner and the readers' group. */
const HOLDERS = `SELECT r.rolname::text AS name FROM pg_proc AS f CROSS JOIN LATERAL aclexplode(f.proacl) AS a JOIN pg_roles AS r ON r.oid = a.grantee
  WHERE f.oid = 'weir.reader()'::regprocedure AND r.oid <> f.proowner AND r.rolname <> weir.reader_group()`;
/** The organisation in the name of a role `h`, as weir.reader() reads it. */
const IN_NAME = `substring(h.name FROM '^weir_sql_(org_[0-9a-z]{26})_[0-9a-z]+$')`;

export const dropStatement = (name: string): string => `DROP ROLE ${id(name)}`;

/**
 * For a superuser, in our database: functions that everybody may execute by default go to the application alone. With
 * advisory locks, which we use as well, a reader could keep every call from being settled; large objects are the one
 * thing that it could write.
 */
export const reserveFunctions = (owner: string): string => `DO $$ DECLARE f regprocedure; BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '${RESERVED}' LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f, ${escapeLiteral(owner)});
  END LOOP;
END $$`;

export class SqlRoleStore {
  async organizationsNamed(tx: Tx, nameOrId: string): Promise<{ id: string; name: string }[]> {
    return tx.query('SELECT id, name FROM organizations WHERE id = $1 OR name = $1', [nameOrId]);
  }

  /** Some of them, for a message. */
  async organizations(tx: Tx, count: number): Promise<{ id: string; name: string }[]> {
    return tx.query('SELECT id, name FROM organizations ORDER BY name, id LIMIT $1', [count]);
  }

  async list(db: Db): Promise<SqlRole[]> {
    return db.query(
      `SELECT h.name, ${IN_NAME} AS "organizationId", o.name AS "organizationName", h.created_at AS "createdAt", h.reads
       FROM (SELECT coalesce(s.name, h.name) AS name, s.created_at, h.name IS NOT NULL AS reads
             FROM sql_roles AS s FULL JOIN (${HOLDERS}) AS h ON h.name = s.name) AS h
       LEFT JOIN organizations AS o ON o.id = ${IN_NAME} ORDER BY h.created_at, h.name`,
    );
  }

  /** One role at a time: the rights of all of them are in the same rows of the catalog. */
  async lock(tx: Tx): Promise<void> {
    await tx.query('LOCK TABLE sql_roles IN SHARE ROW EXCLUSIVE MODE');
  }

  async allow(tx: Tx, name: string): Promise<void> {
    await tx.query(`GRANT ${RIGHT} TO ${id(name)}`);
  }

  /**
   * Plans that sessions have prepared know what weir.reader() said. Granting again has all of them made anew, and then
   * it says nothing.
   */
  async disallow(tx: Tx, name: string): Promise<void> {
    await tx.query(`REVOKE ${RIGHT} FROM ${id(name)}`);
    await this.grant(tx);
  }

  async group(tx: Tx): Promise<{ name: string; exists: boolean }> {
    const [row] = await tx.query<{ name: string; exists: boolean }>(
      'SELECT g.name, EXISTS (SELECT FROM pg_roles WHERE rolname = g.name) AS exists FROM (SELECT weir.reader_group() AS name) AS g',
    );
    return row!;
  }

  /** null: there is no such role. */
  async isMember(tx: Tx, name: string, group: string): Promise<boolean | null> {
    const [row] = await tx.query<{ member: boolean }>(
      `SELECT pg_has_role(oid, $2, 'USAGE') AS member FROM pg_roles WHERE rolname = $1`,
      [name, group],
    );
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
    const sql = 'INSERT INTO sql_roles (name, organization_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING name';
    return (await tx.query(sql, [name, organizationId])).length === 1;
  }

  async remove(tx: Tx, name: string): Promise<void> {
    await tx.query('DELETE FROM sql_roles WHERE name = $1', [name]);
  }

  /** Of a role, or of `public`: of all roles. */
  async openness(tx: Tx, name: string): Promise<Openness> {
    const [row] = await tx.query<Openness>(
      `SELECT pg_get_userbyid(c.relowner)::text AS owner, d.datname::text AS database,
         EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ $2 AND has_function_privilege($1::name, p.oid, 'EXECUTE')) AS locks,
         has_database_privilege($1::name, d.oid, 'TEMPORARY') AS temporary,
         NOT EXISTS (SELECT FROM pg_roles AS r, unnest(r.rolconfig) AS setting WHERE r.rolname = $1::name AND setting LIKE 'temp_file_limit=%') AS spills,
         (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) AS "isSuperuser", pg_has_role(current_user, d.datdba, 'USAGE') AS "ownsDatabase",
         has_parameter_privilege('temp_file_limit', 'SET') AS "maySetLimit"
       FROM pg_class AS c, pg_database AS d WHERE c.oid = 'public.llm_usage'::regclass AND d.datname = current_database()`,
      [name, RESERVED],
    );
    return row!;
  }

  async mayConnect(tx: Tx, name: string): Promise<boolean> {
    const [row] = await tx.query<{ may: boolean }>(
      `SELECT has_database_privilege($1, current_database(), 'CONNECT') AS may`,
      [name],
    );
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

  /**
   * Ends the role's sessions where we may. In PostgreSQL 16 and newer whoever made a role has to make itself a member
   * first.
   */
  async endSessions(tx: Tx, name: string): Promise<void> {
    await tx.query(`GRANT ${id(name)} TO CURRENT_USER`);
    await tx.query(endStatement(name));
  }
}
