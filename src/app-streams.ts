import type { Config } from './config';
import type { Db } from './database/pool';
import type { CallRecord } from './domain/call';
import type { Conversation } from './domain/conversation';
import type { Viewer } from './domain/principal';
import type { Logger } from './lib/logger';
import { LoopLoad } from './lib/loop-load';
import { KeptStreams } from './services/streams/kept-streams';
import { KeptStore } from './services/streams/kept.store';
import { RedisLog } from './services/streams/redis-log';
import { StreamEnds } from './services/streams/stream-ends';
import { Streams } from './services/streams/streams';

export interface StreamParts {
  config: Pick<Config, 'streams' | 'redisUrl' | 'timeouts'>;
  db: Db;
  installation: string;
  lookups: {
    call(viewer: Viewer, id: string): Promise<CallRecord | null>;
    conversation(viewer: Viewer, id: string): Promise<Conversation | null>;
  };
  logger: Logger;
  onClose(close: () => Promise<void> | void): void;
}
export interface OpenedStreams {
  streams: Streams;
  kept: KeptStreams;
  /** null: there is one process, and what the database keeps. */
  shared: RedisLog | null;
  loopLoad: LoopLoad;
}

/** The streams of this process, those of others, and what is kept of both. */
export async function openStreams(parts: StreamParts): Promise<OpenedStreams> {
  const { config, db, installation, lookups, logger, onClose } = parts;
  const loopLoad = new LoopLoad();
  loopLoad.start();
  onClose(() => loopLoad.stop());
  const store = new KeptStore(db);
  const kept = new KeptStreams({ store, ...lookups, logger });
  onClose(() => kept.stop());
  const shared =
    config.redisUrl === null
      ? null
      : new RedisLog({
          url: config.redisUrl,
          installation,
          ends: new StreamEnds({ store, ...lookups }),
          keptMs: config.streams.keptMs,
          longestMs: config.timeouts.totalMs,
          logger,
        });
  await shared?.start();
  onClose(() => shared?.stop());
  const streams = new Streams({ config: config.streams, loopLoad, shared, kept });
  onClose(() => streams.stop());
  return { streams, kept, shared, loopLoad };
}
