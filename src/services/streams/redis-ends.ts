import type { Logger } from '../../lib/logger';
import { terminalJson } from './redis-entry';
import { runScript, type RedisKeys } from './redis-keys';
import type { RedisConnection } from './redis-link';
import { logAway, type RedisReader } from './redis-reader';
import { CLOSE } from './redis-scripts';
import type { StreamEnds, StreamState } from './stream-ends';
import { KEPT_GAP } from './told-answer';

export interface RedisEndsDeps {
  ends: Pick<StreamEnds, 'look' | 'terminalEvent'>;
  connection: Pick<RedisConnection, 'send'>;
  keys: RedisKeys;
  replica: string;
  keptMs: number;
  /** The log has not all of a stream that has ended well. */
  onIncomplete(streamId: string): void;
  logger: Logger;
}

/**
 * Closes logs that their owners have left open: they died, or had no Redis at that moment. Any number of replicas may
 * do it at once.
 */
export class RedisEnds {
  /** As of the look before. Who had ended by then had the time between to say so itself. */
  private before = new Map<string, StreamState>();

  constructor(private readonly deps: RedisEndsDeps) {}

  /** Looks at streams of which nothing new was read. Never rejects. */
  async look(quiet: readonly RedisReader[]): Promise<void> {
    if (quiet.length === 0) return void this.before.clear();
    try {
      const states = await this.deps.ends.look(quiet.map(({ streamId }) => streamId));
      const { before } = this;
      this.before = states;
      for (const reader of quiet) {
        const state = states.get(reader.streamId);
        const earlier = before.get(reader.streamId);
        if (!state || !earlier) continue;
        // Asked for while it ran: the request goes with the call's row in flight.
        state.stopReason ??= earlier.stopReason;
        if (state.state !== 'RUNNING' && earlier.state !== 'RUNNING') await this.close(reader, state);
      }
    } catch (error) {
      this.deps.logger.warn({ err: error }, 'ends of streams of other processes could not be read');
    }
  }

  private async close(reader: RedisReader, state: StreamState): Promise<void> {
    const { connection, keys, replica, keptMs, ends, onIncomplete, logger } = this.deps;
    const { streamId } = reader;
    await reader.pull();
    if (reader.isWhole || reader.hasFailed) return;
    const end = await ends.terminalEvent(streamId, reader.viewer, reader.pieces(), state);
    if (!end) {
      // What was shown while Redis was away is not in the log, and its process does not fill it any more.
      onIncomplete(streamId);
      return reader.fail(logAway());
    }
    const gap = end.isLost ? KEPT_GAP : 1;
    const closed = await runScript(connection, CLOSE, keys.log(streamId), [
      `x:${replica}`,
      String(keptMs),
      keys.appended(streamId),
      terminalJson(end.event),
      String(reader.lastSeq),
      String(gap),
    ]);
    if (closed === 1)
      logger.warn({ streamId, kind: end.event.kind }, 'a stream was ended on behalf of its dead process');
    // Else somebody was faster, or more was appended: that is there to be read.
    const before = reader.lastSeq;
    await reader.pull();
    if (closed === 1 || reader.isWhole || reader.hasFailed || reader.lastSeq > before) return;
    // Or Redis has thrown the log out.
    onIncomplete(streamId);
    reader.fail(logAway());
  }
}
