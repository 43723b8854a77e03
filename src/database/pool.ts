import 'reflect-metadata';
import { Pool } from 'pg';
import { DataSource, type EntityManager } from 'typeorm';
import { BoundedClient } from './bounded-client';
import { ENTITIES } from '../entities/entities';
import { Baseline20261201000000 } from './migrations/20261201000000-baseline';

/**
 * A transaction, or anything else that statements run on. Services take it as an argument, so that they need not import
 * typeorm.
 */
export interface Tx {
  query<R = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<R[]>;
  /** TypeORM's view of the same transaction: for reading and editing single rows, never on the hot path. */
  readonly manager: EntityManager;
}

/** A transaction that reads. */
export interface ReadTx extends Pick<Tx, 'query'> {
  /** As `query`; Postgres parses and plans the statement once per connection. One text for each name. */
  named<R = Record<string, unknown>>(name: string, sql: string, params: readonly unknown[]): Promise<R[]>;
}

export interface Db extends Tx {
  /**
   * A statement of the data path, on connections of its own: no report can keep a call waiting for one. Named, so that
   * Postgres parses and plans it once per connection.
   */
  hot<R = Record<string, unknown>>(name: string, sql: string, params: readonly unknown[]): Promise<R[]>;
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /** A transaction that only reads, and begins with these statements, in one round trip. Nobody waits for its end. */
  readTransaction<T>(begin: string, work: (tx: ReadTx) => Promise<T>): Promise<T>;
  readonly dataSource: DataSource;
  /** Connections of each pool, and who waits for one. */
  connections(): { pool: 'reports' | 'calls'; state: 'used' | 'idle' | 'waiting'; count: number }[];
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  /** Connections. */
  poolSize: number;
  /** Milliseconds after which Postgres gives a statement up, and a second later we do; 0: never. Default: 14 s. */
  statementTimeoutMs?: number;
  /** Milliseconds that a statement waits for a lock; default: as long as it may take. */
  lockTimeoutMs?: number;
  applicationName?: string;
}

// Times are written and read as text in some places: always in UTC. And a role called `weir` would have the schema of
// that name first on its path, where the tables are not looked for at the next start. Compiling a plan costs more than
// any of our statements takes: before Postgres 18 every plan without sequential scans (BY_KEY) looks expensive enough
// for it.
export const SESSION = '-c TimeZone=UTC -c search_path=public -c jit=off -c idle_in_transaction_session_timeout=10s';
/** Statements of the data path look rows up by their keys. Planned once, while tables are small, they would keep the full scans that suit small tables.
 *  And planned once it is: another plan for each value of an array would cost more than the statement. */
const BY_KEY =
  '-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan';
/**
 * Two groups of admissions and two of settlements at a time, and room for what is read beside them: more connections
 * only take from each other.
 */
export const HOT_CONNECTIONS = 6;
/** Milliseconds to wait for a connection, be it a new one or a place in the queue. */
const CONNECT_MS = 5_000;
const STATEMENT_MS = 14_000;
const HOT_STATEMENT_MS = 4_000;
/**
 * Milliseconds by which our own limit is later: it is only for a Postgres that does not answer at all, and costs the
 * connection.
 */
const ANSWER_MARGIN_MS = 1_000;

export const connectionOf = (session: string, statementMs: number): Record<string, unknown> => ({
  Client: BoundedClient,
  options: session,
  statement_timeout: statementMs,
  ...(statementMs > 0 ? { query_timeout: statementMs + ANSWER_MARGIN_MS } : {}),
  connectionTimeoutMillis: CONNECT_MS,
  keepAlive: true,
});

export const buildDataSource = (options: DatabaseOptions): DataSource =>
  new DataSource({
    type: 'postgres',
    url: options.url,
    entities: ENTITIES,
    migrations: [Baseline20261201000000],
    migrationsTableName: 'weir_migrations',
    synchronize: false,
    logging: false,
    poolSize: options.poolSize,
    applicationName: options.applicationName ?? 'weir',
    extra: connectionOf(
      options.lockTimeoutMs ? `${SESSION} -c lock_timeout=${options.lockTimeoutMs}` : SESSION,
      options.statementTimeoutMs ?? STATEMENT_MS,
    ),
  });

export async function openDatabase(options: DatabaseOptions, onPoolError: (error: Error) => void): Promise<Db> {
  const dataSource = buildDataSource(options);
  await dataSource.initialize();
  // The driver's own pg pool: prepared statements have no door in TypeORM.
  const pool = (dataSource.driver as unknown as { master: Pool }).master;
  pool.on('error', onPoolError);
  const hot = new Pool({
    connectionString: options.url,
    max: HOT_CONNECTIONS,
    application_name: options.applicationName ?? 'weir',
    ...connectionOf(`${SESSION} ${BY_KEY}`, options.statementTimeoutMs ?? HOT_STATEMENT_MS),
  });
  hot.on('error', onPoolError);
  return {
    dataSource,
    manager: dataSource.manager,
    query: async (sql, params = []) => (await pool.query(sql, params as unknown[])).rows,
    hot: async (name, text, values) => (await hot.query({ name, text, values: values as unknown[] })).rows,
    transaction: (work) =>
      dataSource.transaction((manager) =>
        work({
          manager,
          query: async <R>(sql: string, params: readonly unknown[] = []) =>
            rowsOf<R>(await manager.query(sql, params as unknown[])),
        }),
      ),
    readTransaction: async (begin, work) => {
      const client = await pool.connect();
      let end = 'COMMIT';
      try {
        await client.query(begin);
        return await work({
          query: async (sql, params = []) => (await client.query(sql, params as unknown[])).rows,
          named: async (name, text, values) => (await client.query({ name, text, values: values as unknown[] })).rows,
        });
      } catch (error) {
        end = 'ROLLBACK';
        throw error;
      } finally {
        // A connection whose transaction cannot be ended is not used again.
        void client.query(end).then(
          () => client.release(),
          (error: Error) => client.release(error),
        );
      }
    },
    connections: () =>
      (
        [
          ['reports', pool],
          ['calls', hot],
        ] as const
      ).flatMap(([name, { totalCount, idleCount, waitingCount }]) => [
        { pool: name, state: 'used' as const, count: totalCount - idleCount },
        { pool: name, state: 'idle' as const, count: idleCount },
        { pool: name, state: 'waiting' as const, count: waitingCount },
      ]),
    close: async () => {
      await Promise.all([hot.end(), dataSource.destroy()]);
    },
  };
}

/** TypeORM answers UPDATE and DELETE with [rows, count], everything else with the rows. */
function rowsOf<R>(result: unknown): R[] {
  return (
    Array.isArray(result) && result.length === 2 && Array.isArray(result[0]) && typeof result[1] === 'number'
      ? result[0]
      : result
  ) as R[];
}
