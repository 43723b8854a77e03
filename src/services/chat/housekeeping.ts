import type { Logger } from '../../lib/logger';
import type { CallStore } from './call.store';
import type { CallEnd } from './call.types';

/** Months of `llm_usage` that are made before they begin. */
const MONTHS_AHEAD = 3;
const LOOK_EVERY_MS = 60_000;

/** What the data path needs done in the background: the coming months' partitions, and an end for calls whose process died. */
export class Housekeeping {
  private timer: NodeJS.Timeout | null = null;
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly deps: { store: CallStore; logger: Logger }) {}

  async start(): Promise<void> {
    await this.deps.store.ensurePartitions(MONTHS_AHEAD);
    await this.endOverdue();
    this.timer = setInterval(() => {
      this.running = this.look();
    }, LOOK_EVERY_MS).unref();
  }

  async stop(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    await this.running;
  }

  private async look(): Promise<void> {
    try {
      await this.deps.store.ensurePartitions(MONTHS_AHEAD);
      await this.endOverdue();
    } catch (error) {
      this.deps.logger.warn({ err: error }, 'housekeeping failed, and is tried again in a minute');
    }
  }

  /** A call past its deadline has no process any more: it ends as LOST, with no usage known. */
  async endOverdue(): Promise<number> {
    const overdue = await this.deps.store.overdue(500);
    if (overdue.length === 0) return 0;
    const settled = await this.deps.store.settle(
      overdue.map(
        (call): CallEnd => ({
          id: call.id, occurredAt: call.occurredAt, organizationId: call.organizationId, userId: call.userId, tokenId: call.tokenId, projectId: call.projectId,
          conversationId: call.conversationId, agent: call.agent, scenario: call.scenario, traceId: call.traceId, streamed: call.streamed, model: call.model,
          servedModel: call.model, provider: null, deployment: null, upstream: call.upstream, attempts: 1, status: 'LOST', errorCode: null, finishReason: null,
          tokens: { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 }, usageSource: 'NONE', rawUsage: null,
          priceNumber: null, cost: null, proxyCost: null, latencyMs: null, timeToFirstTokenMs: null, omittedMessages: 0, answer: null,
        }),
      ),
    );
    this.deps.logger.warn({ calls: settled.length }, 'calls of a process that died were ended as LOST');
    return settled.length;
  }
}
