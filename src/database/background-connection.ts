import { BoundedClient } from './bounded-client';
import { connectionOf, SESSION } from './pool';

export interface BackgroundConnectionOptions {
  url: string;
  applicationName: string;
  /** Milliseconds after which Postgres gives a statement up. */
  statementTimeoutMs: number;
}
export type RunSql = <R = Record<string, unknown>>(sql: string, params?: readonly unknown[]) => Promise<R[]>;

/**
 * One connection for work in the background that may take long: it is none of the pool's, so that nobody waits for one
 * because of it. Made when it is first needed, and again when it was lost. Commits do not wait for the disk: it is for
 * work that is simply done again where a crash took it back.
 */
export class BackgroundConnection {
  private current: { client: BoundedClient; ready: Promise<BoundedClient> } | null = null;
  private closed = false;

  constructor(private readonly options: BackgroundConnectionOptions) {}

  readonly query: RunSql = async (sql, params = []) => runner(await this.connected())(sql, params);

  /** Statements that `work` runs are one transaction, from `begin` to COMMIT. One at a time. */
  async transaction<T>(begin: string, work: (run: RunSql) => Promise<T>): Promise<T> {
    const client = await this.connected();
    const run = runner(client);
    await run(begin);
    try {
      const result = await work(run);
      await run('COMMIT');
      return result;
    } catch (error) {
      await run('ROLLBACK').catch(() => this.forget(client));
      throw error;
    }
  }

  /** Gives the connection up, with all that belongs to it: the next statement makes another one. */
  release(): void {
    if (this.current) this.forget(this.current.client);
  }

  /** At once. A statement that still runs is carried out wholly or not at all. */
  close(): void {
    this.closed = true;
    this.release();
  }

  private connected(): Promise<BoundedClient> {
    if (this.closed) return Promise.reject(new Error('the connection was closed'));
    return (this.current ?? this.connect()).ready;
  }

  private connect(): { client: BoundedClient; ready: Promise<BoundedClient> } {
    const { url, applicationName, statementTimeoutMs } = this.options;
    const client = new BoundedClient({
      connectionString: url,
      application_name: applicationName,
      ...connectionOf(`${SESSION} -c synchronous_commit=off`, statementTimeoutMs),
    });
    client.on('error', () => this.forget(client));
    client.on('end', () => this.forget(client));
    const ready = client.connect().then(
      () => client,
      (error: unknown) => {
        this.forget(client);
        throw error;
      },
    );
    return (this.current = { client, ready });
  }

  private forget(client: BoundedClient): void {
    if (this.current?.client === client) this.current = null;
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }
}

const runner =
  (client: BoundedClient): RunSql =>
  async (sql, params = []) =>
    (await client.query(sql, params as unknown[])).rows;
