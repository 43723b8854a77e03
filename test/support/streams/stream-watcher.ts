import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { CHAT_STREAM, isTerminal, type StreamEvent } from '../ws-client';
import type { Move, ViewerPlan } from './stream-plan';
import { ViewerChain, type StreamRecord } from './stream-record';

/** A TCP relay between a viewer and a replica: for one connection. */
export interface Door {
  readonly url: string;
  cut(): void;
  freeze(): void;
  close(): Promise<void>;
}
export interface WatcherDeps {
  record: StreamRecord;
  plan: ViewerPlan;
  token: string;
  door(): Promise<Door>;
  onEvent(event: StreamEvent): void;
  /** A process has died: what a viewer saw last may be kept nowhere. */
  mayForget(): boolean;
}

const START_STREAM = CHAT_STREAM.replace(
  '... on ToolCallDelta',
  '... on StreamProgress { completionTokens }\n    ... on ToolCallDelta',
);
const RESUME_STREAM = START_STREAM.replace(
  'subscription ChatStream($input: ChatInput!)',
  'subscription ResumeStream($streamId: ID!, $afterSeq: Int!)',
).replace('chatStream(input: $input)', 'resumeStream(streamId: $streamId, afterSeq: $afterSeq)');
/**
 * Between two tries, and until a viewer gives up: longer than a process takes to start on a busy machine. Milliseconds.
 */
const AGAIN_MS = 40;
const GIVE_UP_MS = 100_000;

/**
 * One who wants to read a whole stream, and comes back after whatever happens: with `resumeStream` where it knows the
 * stream, with the same key where it does not.
 */
export class Watcher {
  /** Left for good, or was told something that cannot be right. */
  private isGone = false;
  private hasAll = false;
  private terminal: StreamEvent | null = null;
  private readonly moves: Move[];
  private chain: ViewerChain;

  /** One who has everything up to `after`. */
  constructor(
    private readonly deps: WatcherDeps,
    after = 0,
  ) {
    this.moves = [...deps.plan.moves];
    this.chain = new ViewerChain(deps.record, after);
  }

  private get seq(): number {
    return this.chain.seq;
  }

  /** Resolves when it has the terminal event, or has gone for good. */
  async watch(): Promise<void> {
    const { record } = this.deps;
    const end = performance.now() + GIVE_UP_MS;
    while (!this.terminal && !this.isGone) {
      if (performance.now() > end)
        return record.fault(`a viewer that has ${this.seq} numbers waits for the end for ${GIVE_UP_MS} ms`);
      const awayMs = await this.look(end);
      await sleep(awayMs);
    }
  }

  /** One who has everything already gets nothing, and is not kept waiting. */
  async readNothing(): Promise<void> {
    this.hasAll = true;
    await this.look(performance.now() + GIVE_UP_MS);
  }

  /** One subscription, on a connection of its own. Gives the milliseconds until the next one. */
  private async look(end: number): Promise<number> {
    const { record, plan, token } = this.deps;
    const door = await this.deps.door();
    let socket: WebSocket | undefined;
    const observe = (opened: WebSocket): void => {
      socket = opened;
    };
    let awayMs = AGAIN_MS;
    let gaveUp = (): void => {};
    const timer = setTimeout(() => gaveUp(), Math.max(0, end - performance.now()));
    const client = createClient({
      url: door.url.replace(/^http/, 'ws'),
      webSocketImpl: class extends WebSocket {
        constructor(address: string | URL, protocols?: string | string[]) {
          super(address, protocols);
          observe(this);
        }
      },
      connectionParams: { Authorization: `Bearer ${token}` },
      retryAttempts: 0,
    });
    try {
      await new Promise<void>((resolve) => {
        let hasLeft = false;
        let hasFailed = false;
        const leave = (how: Move['trouble'], backMs: number): void => {
          awayMs = backMs;
          hasLeft = true;
          if (how === 'LEAVE') {
            unsubscribe();
            return resolve();
          }
          door.freeze();
          // A frozen connection dies when somebody finds out; one that is cut, at once.
          setTimeout(() => (door.cut(), resolve()), how === 'CUT' ? 0 : backMs);
        };
        const onEvent = (event: StreamEvent): void => {
          // What arrives behind a cut was on the way: a client that is gone sees nothing.
          if (hasLeft) return;
          if (this.terminal || this.hasAll)
            return record.fault(`${event.__typename} ${event.fromSeq}-${event.seq} behind the terminal event`);
          this.chain.add(event);
          if (isTerminal(event)) this.terminal = event;
          this.deps.onEvent(event);
          if (plan.goesAtSeq !== null && this.seq >= plan.goesAtSeq && !this.terminal) {
            this.isGone = true;
            return leave('CUT', 0);
          }
          if (!this.moves[0] || this.moves[0].atSeq > this.seq) return;
          const move = this.moves.shift()!;
          if (move.trouble !== 'SLOW') return leave(move.trouble, move.awayMs);
          socket?.pause();
          setTimeout(() => socket?.resume(), move.awayMs);
        };
        const byKey = record.streamId === null || (plan.byKey && this.seq === 0);
        const { policy, progress, label } = record.plan;
        const input = {
          model: label,
          agent: label,
          maxTokens: 400,
          messages: [{ role: 'USER', content: label }],
          idempotencyKey: label,
          onDisconnect: policy,
          progress,
        };
        const unsubscribe = client.subscribe<Record<string, StreamEvent>>(
          byKey
            ? { query: START_STREAM, variables: { input } }
            : { query: RESUME_STREAM, variables: { streamId: record.streamId, afterSeq: this.seq } },
          {
            next: ({ data, errors }) => {
              hasFailed ||= Boolean(errors);
              if (errors) this.failed(errors);
              if (data) onEvent(Object.values(data)[0]!);
            },
            error: (error) => {
              if (!hasLeft) this.failed(error);
              resolve();
            },
            complete: () => {
              if (!this.terminal && !this.hasAll && !hasLeft && !hasFailed)
                record.fault(`the operation ended behind ${this.seq} without a terminal event`);
              resolve();
            },
          },
        );
        gaveUp = resolve;
      });
    } finally {
      clearTimeout(timer);
      await Promise.race([client.dispose(), sleep(100)]);
      socket?.terminate();
      await door.close();
    }
    return awayMs;
  }

  /**
   * A lost connection, or an error that says that it passes, is part of the game; a stream that is not there is not.
   */
  private failed(error: unknown): void {
    if (!Array.isArray(error)) return;
    for (const { message, extensions } of error as {
      message: string;
      extensions?: { code?: string; retryable?: boolean };
    }[]) {
      if (extensions?.code === 'SERVICE_UNAVAILABLE' || extensions?.retryable) continue;
      if (extensions?.code === 'NOT_FOUND' && this.seq > 0 && this.deps.mayForget()) {
        // It says so instead of skipping: then one reads from the beginning.
        this.chain = new ViewerChain(this.deps.record, 0);
        this.deps.onEvent({ __typename: 'started over', fromSeq: 0, seq: 0 });
        continue;
      }
      this.deps.record.fault(`behind ${this.seq}: ${extensions?.code} ${message}`);
      this.isGone = true;
    }
  }
}
