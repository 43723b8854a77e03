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
  /** Set once LISTEN has succeeded. A failure before that only rejects `start`. */
  private listening = false;
  private over = false;

  constructor(private readonly options: ListeningConnectionOptions) {
    this.client = new Client({
      connectionString: options.databaseUrl,
      application_name: options.applicationName,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: ANSWER_MS,
      keepAlive: true,
    });
    this.client.on('notification', ({ payload }) => options.onNotification(payload ?? ''));
    this.client.on('error', (error) => this.lose(error));
    this.client.on('end', () => this.lose(new Error(`the connection that listens on ${options.channel} has ended`)));
  }

  /** Rejects, and does not call `onLost`, where it cannot be had. */
  async start(): Promise<void> {
    try {
      await this.client.connect();
      await this.client.query(`LISTEN ${this.options.channel}`);
      this.listening = true;
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
    if (this.over || !this.listening) return;
    this.over = true;
    this.client.end().catch(() => undefined);
    this.options.onLost(error);
  }
}

export interface ListenerOptions extends Omit<ListeningConnectionOptions, 'onLost'> {
  /** Milliseconds until a lost connection is made anew. Default 1 s. */
  reconnectMs?: number;
  /** A connection listens from now on: what was told before has to be asked for. Never rejects. */
  onListening(): Promise<void>;
  /** It was lost, or could not be had; it is made anew. */
  onLost(error: unknown): void;
  onRefused(error: unknown): void;
}

/** A listening connection that is made anew whenever it is lost. */
export class Listener {
  private connection: ListeningConnection | null = null;
  private connecting: Promise<void> | null = null;
  private retry: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(private readonly options: ListenerOptions) {}

  /** Resolves when it listens, or could not. */
  async start(): Promise<void> {
    const { onListening, onLost, onRefused } = this.options;
    const connection = new ListeningConnection({
      ...this.options,
      onLost: (error) => {
        this.connection = null;
        onLost(error);
        this.later();
      },
    });
    this.connecting = connection.start().then(
      () => {
        this.connection = connection;
        return onListening();
      },
      (error: unknown) => {
        onRefused(error);
        this.later();
      },
    );
    await this.connecting;
  }

  async check(): Promise<void> {
    await this.connection?.check();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.retry);
    await this.connecting;
    await this.connection?.stop();
  }

  private later(): void {
    if (!this.stopped) this.retry = setTimeout(() => void this.start(), this.options.reconnectMs ?? 1_000).unref();
  }
}
