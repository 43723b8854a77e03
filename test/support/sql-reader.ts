import { Client, type QueryResultRow } from 'pg';
import type { Db } from '../../src/database/pool';
import { SqlRoles } from '../../src/services/analytics/sql-roles';

/** A connection of a role that reads with SQL, as Metabase has it. */
export interface SqlReader {
  name: string;
  password: string;
  client: Client;
  rows<R extends QueryResultRow = Record<string, any>>(sql: string, values?: unknown[]): Promise<R[]>;
  /** The SQLSTATE that a statement fails with; null: it does not fail. Nothing stays of it. */
  failure(sql: string): Promise<string | null>;
  /** Closes the connection and drops the role. */
  close(): Promise<void>;
}

/** A role of its own for one organisation, or with null for all. */
export async function createReader(
  database: { url: string; db: Db },
  organizationId: string | null,
): Promise<SqlReader> {
  const roles = new SqlRoles(database.db);
  const { name, password, missing } = await roles.create({ organization: organizationId, role: null });
  if (missing.length > 0) throw new Error(`not made: ${missing.join('; ')}`);
  const client = await connectAs(database.url, name, password!);
  return {
    name,
    password: password!,
    client,
    rows: async (sql, values = []) => (await client.query(sql, values)).rows,
    failure: async (sql) => {
      await client.query('BEGIN; SET LOCAL transaction_read_only = off; SAVEPOINT before');
      try {
        await client.query(sql);
        return null;
      } catch (error) {
        return (error as { code?: string }).code ?? String(error);
      } finally {
        await client.query('ROLLBACK');
      }
    },
    close: async () => {
      await client.end();
      await roles.drop(name);
    },
  };
}

export async function connectAs(databaseUrl: string, name: string, password: string): Promise<Client> {
  const url = new URL(databaseUrl);
  url.username = name;
  url.password = encodeURIComponent(password);
  const client = new Client({ connectionString: url.href });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
