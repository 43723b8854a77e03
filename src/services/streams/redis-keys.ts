import { RedisAwayError, type RedisConnection } from './redis-link';
import type { RedisScript } from './redis-scripts';

/**
 * Names in Redis: all of one installation share a prefix, all of one stream a hash tag. Channels are of the whole
 * server, so they have the prefix, too.
 */
export class RedisKeys {
  constructor(private readonly installation: string) {}

  log = (streamId: string): string => `weir:${this.installation}:{${streamId}}:log`;
  viewers = (streamId: string): string => `weir:${this.installation}:{${streamId}}:viewers`;
  /** Told the last number whenever something was appended. */
  appended = (streamId: string): string => `weir:${this.installation}:{${streamId}}`;
  /** Told the id of a stream that somebody has left. */
  get left(): string {
    return `weir:${this.installation}:left`;
  }
}

/** Runs a script by its hash, and sends the text to a server that does not know it: once after each of its starts. */
export async function runScript(
  connection: Pick<RedisConnection, 'send'>,
  { sha, text }: RedisScript,
  key: string,
  args: readonly string[],
): Promise<number> {
  try {
    return Number(await connection.send(['EVALSHA', sha, '1', key, ...args]));
  } catch (error) {
    if (error instanceof RedisAwayError || !String((error as Error).message).startsWith('NOSCRIPT')) throw error;
    return Number(await connection.send(['EVAL', text, '1', key, ...args]));
  }
}
