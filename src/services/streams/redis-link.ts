import { createClient, ErrorReply } from '@redis/client';
import type { Logger } from '../../lib/logger';

type Client = ReturnType<typeof open>;

/** Redis cannot be reached, or did not answer in time: whether the command was carried out is not known. */
export class RedisAwayError extends Error {
  constructor(cause?: unknown) {
    super('Redis cannot be reached', { cause });
    this.name = 'RedisAwayError';
  }
}

/**
 * A command that has no answer after so many looks in a row is not waited for: looks and not a time, for a process that
 * was busy itself has not looked.
 */
const LOOK_MS = 250;
const SILENT_LOOKS = 4;
/** Looks between two pings of a connection that nobody uses: one that died quietly is noticed before it is needed. */
const PING_LOOKS = 8;
/** Milliseconds until a connection is tried again, doubling up to the greater one. */
const RETRY_MS = 100;
const MAX_RETRY_MS = 2_000;
const CONNECT_MS = 2_000;

/**
 * Offline, commands fail at once; each attempt to connect is ours: the library's own would carry commands over from a
 * connection that is gone.
 */
const open = (url: string) =>
  createClient({
    url,
    RESP: 3,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    commandOptions: { timeout: 0 },
    socket: { connectTimeout: CONNECT_MS, reconnectStrategy: false },
  });

export interface RedisConnectionDeps {
  url: string;
  logger: Logger;
  /** For the log. */
  name: string;
  onUp(): void;
  onDown(): void;
}

/**
 * One connection that is made again whenever it is lost. It never throws but from `send`, and never waits longer than
 * about a second.
 */
export class RedisConnection {
  private client: Client | null = null;
  private opening: Client | null = null;
  private pending = 0;
  private silentLooks = 0;
  private idleLooks = 0;
  private failures = 0;
  private retry: NodeJS.Timeout | null = null;
  private stopped = false;
  private readonly looking: NodeJS.Timeout;
  /** When it was made or lost. */
  since = new Date();
  /** Why it is down; null while it is up. */
  problem: string | null = 'has not connected yet';

  constructor(private readonly deps: RedisConnectionDeps) {
    this.looking = setInterval(() => this.look(), LOOK_MS).unref();
  }

  get isUp(): boolean {
    return this.client !== null;
  }

  /** Resolves when the first attempt has succeeded or failed. */
  async start(): Promise<void> {
    await this.connect();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.looking);
    if (this.retry) clearTimeout(this.retry);
    for (const client of [this.client, this.opening]) if (client) close(client);
    this.client = null;
  }

  /**
   * Commands of one turn of the event loop go out together. Throws RedisAwayError, or what Redis refuses the command
   * with.
   */
  send(command: readonly string[]): Promise<unknown> {
    return this.counted((client) => client.sendCommand(command as string[]));
  }

  subscribe(channel: string, listener: (message: string) => void): Promise<unknown> {
    return this.counted((client) => client.subscribe(channel, listener));
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.counted((client) => client.unsubscribe(channel));
  }

  private async counted<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const { client } = this;
    if (!client) throw new RedisAwayError();
    this.pending += 1;
    this.idleLooks = 0;
    try {
      return await work(client);
    } catch (error) {
      // A reply that says no; everything else is the connection.
      if (this.client === client && error instanceof ErrorReply) throw error;
      throw new RedisAwayError(error);
    } finally {
      if (this.client === client) {
        this.pending -= 1;
        this.silentLooks = 0;
      }
    }
  }

  private async connect(): Promise<void> {
    if (this.stopped) return;
    const client = open(this.deps.url);
    this.opening = client;
    // An error event that nobody hears would end the process.
    client.on('error', (error: unknown) => this.lost(client, error));
    client.on('end', () => this.lost(client, new Error('the connection ended')));
    const late = setTimeout(() => this.lost(client, new Error('no greeting in time')), CONNECT_MS);
    try {
      await client.connect();
    } catch (error) {
      this.lost(client, error);
    } finally {
      clearTimeout(late);
    }
    if (this.opening !== client || this.stopped) return;
    this.opening = null;
    this.client = client;
    this.pending = 0;
    this.silentLooks = 0;
    this.since = new Date();
    if (this.failures > 0) this.deps.logger.info({ connection: this.deps.name }, 'Redis is back');
    this.failures = 0;
    this.problem = null;
    this.deps.onUp();
  }

  private lost(client: Client, error: unknown): void {
    if (this.client !== client && this.opening !== client) return;
    const wasUp = this.client === client;
    if (wasUp) this.since = new Date();
    this.client = null;
    this.opening = null;
    close(client);
    if (this.stopped) return;
    this.problem = 'cannot be reached';
    if (this.failures === 0)
      this.deps.logger.warn(
        { connection: this.deps.name, err: error },
        'Redis cannot be reached: streams go on for the viewers of this process',
      );
    const waitMs = Math.min(RETRY_MS * 2 ** this.failures, MAX_RETRY_MS);
    this.failures += 1;
    // Not all replicas at the same moment.
    this.retry = setTimeout(() => void this.connect(), waitMs * (0.5 + Math.random() / 2)).unref();
    if (wasUp) this.deps.onDown();
  }

  private look(): void {
    const { client } = this;
    if (!client) return;
    if (this.pending === 0) {
      this.silentLooks = 0;
      this.idleLooks += 1;
      if (this.idleLooks >= PING_LOOKS) this.counted((used) => used.ping()).catch(() => {});
    } else if ((this.silentLooks += 1) > SILENT_LOOKS)
      this.lost(client, new Error(`no answer within ${SILENT_LOOKS * LOOK_MS} ms`));
  }
}

function close(client: Client): void {
  try {
    client.destroy();
  } catch {
    // It was closed already.
  }
}
