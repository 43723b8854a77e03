import { Client } from 'pg';
import { reserveFunctions } from '../src/services/analytics/sql-role.store';

export interface DatabaseWanted {
  /** Name of the database and of the role that owns it. */
  name: string;
  password: string;
  /** Whether the role may make further roles: `npm run admin -- create-sql-role` does. */
  makesRoles?: boolean;
}

/**
 * Makes what is missing: a role per database that owns it and nothing else. Safe to repeat; passwords are set anew each
 * time.
 */
export async function ensureDatabases(adminUrl: string, wanted: readonly DatabaseWanted[]): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    for (const { name, password, makesRoles } of wanted) {
      const identifier = client.escapeIdentifier(name);
      const secret = client.escapeLiteral(password);
      const known = await client.query(
        'SELECT (SELECT count(*) FROM pg_roles WHERE rolname = $1)::int AS roles, (SELECT count(*) FROM pg_database WHERE datname = $1)::int AS databases',
        [name],
      );
      const { roles, databases } = known.rows[0] as { roles: number; databases: number };
      await client.query(
        `${roles ? 'ALTER' : 'CREATE'} ROLE ${identifier} LOGIN ${makesRoles ? 'CREATEROLE' : 'NOCREATEROLE'} PASSWORD ${secret}`,
      );
      if (!databases) await client.query(`CREATE DATABASE ${identifier} OWNER ${identifier}`);
      // Else a schema that is called like the role (Weir has one) would take every table that is made without a
      // schema's name.
      await client.query(`ALTER ROLE ${identifier} SET search_path = public`);
      await client.query(`REVOKE CONNECT ON DATABASE ${identifier} FROM PUBLIC`);
      if (makesRoles) await inDatabase(adminUrl, name, reserveFunctions(name));
    }
  } finally {
    await client.end();
  }
}

async function inDatabase(adminUrl: string, database: string, statement: string): Promise<void> {
  const url = new URL(adminUrl);
  url.pathname = `/${encodeURIComponent(database)}`;
  const client = new Client({ connectionString: url.href });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Input for `postgres --single`: sets the superuser's password where the old one was lost. */
export const resetPasswordStatement = (password: string): string =>
  `ALTER ROLE postgres PASSWORD '${password.replaceAll("'", "''")}'\n`;

/** Classes of SQLSTATE that waiting does not cure: wrong password, no such database, no right to connect. */
const LASTING = /^(28|3D|42)/;

/** Null when the database answers. Messages of the driver name user and host, never the password. */
export async function canConnect(url: string): Promise<{ message: string; temporary: boolean } | null> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
    await client.query('SELECT 1');
    return null;
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    return { message: message || code || 'no answer', temporary: !LASTING.test(code ?? '') };
  } finally {
    await client.end().catch(() => undefined);
  }
}
