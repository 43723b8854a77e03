import { setTimeout as sleep } from 'node:timers/promises';
import { graphql } from '../graphql-client';
import type { TestUser } from '../factories';
import { connectWs } from '../ws-client';
import { Random } from './random';

/** What clients have seen. Every call has a label of its own, which the upstream sees as well. */
export interface Tally {
  sent: number;
  /** Calls of which a client has seen a reply: their ids, by label. */
  replies: Map<string, string>;
  /** Streams that have begun. */
  started: Map<string, string>;
  replayed: number;
  retries: number;
  /** Refusals and errors by code; CUT where the connection ended. */
  refused: Record<string, number>;
}

const CHAT = `mutation ($input: ChatInput!) { chat(input: $input) { __typename ... on ChatReply { replayed call { id } } ... on Refusal { code retryable } } }`;
/** Milliseconds between two tries, and until a client gives up. */
const AGAIN_MS = 100;
const GIVE_UP_MS = 240_000;

/**
 * Clients of several servers: chats one after another, and streams. Those with an idempotency key ask again until they
 * know.
 */
export class Load {
  readonly tally: Tally = { sent: 0, replies: new Map(), started: new Map(), replayed: 0, retries: 0, refused: {} };
  private readonly random: Random;
  private readonly tries = new Set<Promise<void>>();
  /** The stop of all that has not ended, at the latest. */
  private isOver = false;

  constructor(
    private readonly users: readonly TestUser[],
    /** GraphQL endpoints of the servers that serve now. */
    private readonly urls: () => string[],
    seed: number,
  ) {
    this.random = new Random(seed);
  }

  /** Chats one after another at one server until told to stop. */
  async chats(url: string, isDone: () => boolean): Promise<void> {
    while (!isDone()) await this.chat(url);
  }

  /** One chat. Where nobody answers and it has a key, it is asked again elsewhere, in the background. */
  async chat(url: string): Promise<void> {
    const label = this.label();
    const user = this.random.pick(this.users);
    const key = this.random.chance(0.6) ? label : null;
    const input = {
      model: 'test-chat',
      agent: label,
      maxTokens: 100,
      messages: [{ role: 'USER', content: label }],
      ...(key ? { idempotencyKey: key } : {}),
    };
    const isKnown = await this.ask(url, user, label, input);
    if (isKnown) return;
    if (!key) return void (await sleep(AGAIN_MS));
    const again = this.again(user, label, input);
    this.tries.add(again);
    void again.finally(() => this.tries.delete(again));
    await sleep(AGAIN_MS);
  }

  /** So many streams at one server, on one connection. Resolves when all have ended, or the server is gone. */
  async streams(url: string, count: number): Promise<void> {
    const user = this.random.pick(this.users);
    const client = connectWs(url, user.token);
    const gone = client.closed.then(() => {});
    try {
      await Promise.all(
        Array.from({ length: count }, async () => {
          const label = this.label();
          const stream = client.chatStream({
            model: 'test-chat',
            agent: label,
            maxTokens: 4_000,
            messages: [{ role: 'USER', content: label }],
          });
          await Promise.race([stream.ended, gone]);
          for (const event of stream.events) {
            if (event.__typename === 'StreamStarted') this.tally.started.set(label, event.callId);
            if (event.reply?.call) this.tally.replies.set(label, event.reply.call.id);
            if (event.refusal) this.count(event.refusal.code);
          }
          if (!stream.events.some((event) => event.reply || event.refusal)) this.count('CUT');
        }),
      );
    } finally {
      await client.close();
    }
  }

  /** Waits for those that ask again. */
  async finish(): Promise<void> {
    await Promise.all(this.tries);
    this.isOver = true;
  }

  private async again(user: TestUser, label: string, input: Record<string, unknown>): Promise<void> {
    // Also of a request that is under way: whoever repeats a call waits for its end.
    const end = AbortSignal.timeout(GIVE_UP_MS);
    while (!this.isOver && !end.aborted) {
      const urls = this.urls();
      this.tally.retries += 1;
      if (urls.length > 0 && (await this.ask(this.random.pick(urls), user, label, input, end))) return;
      await sleep(AGAIN_MS);
    }
    this.count('GAVE_UP');
  }

  /** Whether the client knows what became of it. */
  private async ask(
    url: string,
    user: TestUser,
    label: string,
    input: Record<string, unknown>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    try {
      const { data, errors } = await graphql(url, user.token, CHAT, { input }, { signal });
      const chat = data?.chat;
      if (chat?.__typename === 'ChatReply') {
        this.tally.replies.set(label, chat.call.id);
        if (chat.replayed) this.tally.replayed += 1;
        return true;
      }
      this.count(chat?.code ?? errors?.[0]?.extensions.code ?? 'CUT');
      return Boolean(chat && !chat.retryable);
    } catch {
      this.count('CUT');
      return false;
    }
  }

  private label(): string {
    this.tally.sent += 1;
    return `call-${this.tally.sent}`;
  }

  private count(code: string): void {
    this.tally.refused[code] = (this.tally.refused[code] ?? 0) + 1;
  }
}
