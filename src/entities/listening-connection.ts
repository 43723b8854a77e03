import { Client } from 'pg';

const CONNECT_MS = 5_000;
const ANSWER_MS = 4_000;

export interface ListeningConnectionOptions {
  databaseUrl: string;
  /** As Postgres shows it in pg_stat_activity. */
  applicationName: string;
  /** NOTIFY on it says that there is something new; what, is read from its table. A plain identifier. */
  channel: string;
  onNotification(payload: string): void;
  /** Once, when the connection is gone or does not answer. */
  onLost(error: unknown): void;
}

/** A connection that waits for notifications. It listens once: after `onLost` another one has to be made. */
export class ListeningConnection {
  private readonly client: Client;
  private over = false;

  constructor(private readonly options: ListeningConnectionOptions) {
    this.client = new Client({ connectionString: options.databaseUrl, application_name: options.applicationName, connectionTimeoutMillis: CONNECT_MS, query_timeout: ANSWER_MS, keepAlive: true });
    this.client.on('notification', ({ payload }) => options.onNotification(payload ?? ''));
    this.client.on('error', (error) => this.lose(error));
    this.client.on('end', () => this.lose(new Error(`the connection that listens on ${options.channel} has ended`)));
  }

  /** Rejects, and does not call `onLost`, where it cannot be had. */
  async start(): Promise<void> {
    try {
      await this.client.connect();
      await this.client.query(`LISTEN ${this.options.channel}`);
    } catch (error) {
      this.over = true;
      this.client.end().catch(() => undefined);
      throw error;
    }
  }

  /** A connection whose other side has gone without a word is found out only by asking. */
  async check(): Promise<void> {
    if (this.over) return;
    try {
      await this.client.query('SELECT 1');
    } catch (error) {
      this.lose(error);
    }
  }

  async stop(): Promise<void> {
    this.over = true;
    await this.client.end();
  }

  private lose(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.client.end().catch(() => undefined);
    this.options.onLost(error);
  }
}
