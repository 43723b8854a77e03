import { notifyAlerts } from '../../entities/alert-notice';
import type { Db } from '../../entities/data-source';
import { AppError } from '../../errors';
import { canonicalDecimal } from '../../lib/decimal';
import { Grouped } from '../../lib/grouped';
import { violatedConstraint } from '../../lib/pg-error';
import { storableJson } from '../../lib/storable';
import type { Budget } from '../budget/budget.types';
import type { Prices } from '../pricing/price-usage';
import type { Admission, CallEnd, CallFacts, HeldOn, NewCall, Question, StoredMessage } from './call.types';
import type { StopReason } from './chat.types';
import { reprice } from './reprice';

/** Waits, bounded, while somebody makes a budget or records a price (weir.share_budgets, weir.share_prices): a matter of milliseconds, mostly. */
async function whenFree<T>(work: () => Promise<T>): Promise<T> {
  for (let waitedMs = 0, waitMs = 10; ; waitMs = Math.min(waitMs * 2, 500)) {
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: unknown }).code !== IS_BEING_CHANGED || waitedMs > ADMIT_WITHIN_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      waitedMs += waitMs;
    }
  }
}

/** A restart of Postgres takes about a second: calls wait for it, and fail closed after that. Milliseconds. */
const ADMIT_AGAIN_AFTER_MS = [50, 200, 500, 1_000];
const ADMIT_WITHIN_MS = 2_500;
/** A budget of the organisation, or a price of the model. */
const IS_BEING_CHANGED = '55P03';
/** Raised by weir.correct. */
const PRICES_CHANGED = 'WP001';
const MAX_PRICINGS = 5;
/** NOTIFY with an owner's name: somebody wants a call of it stopped. */
export const STOPS_CHANNEL = 'weir_stops';
/** No SQLSTATE: the connection itself failed. 57P0x: Postgres goes down or comes up. 40xxx: rolled back for the sake of another transaction. And the first try of the same call may have come to its end meanwhile. */
const mayPass = (error: unknown): boolean => {
  const code = String((error as { code?: unknown }).code ?? '');
  return !/^[0-9A-Z]{5}$/.test(code) || code === 'EPIPE' || /^(57P0|40|08)/.test(code) || code === IS_BEING_CHANGED || violatedConstraint(error) === 'calls_in_flight_pkey';
};

/** The connection, or the time: not one call's fault, so that nothing is won by trying each by itself on the few connections there are. */
const isForAll = (error: unknown): boolean => {
  const code = String((error as { code?: unknown }).code ?? '');
  return !/^[0-9A-Z]{5}$/.test(code) || code === 'EPIPE' || /^(57|08|53)/.test(code);
};

/** Empty lists and what is not known are left out: the function fills them in. */
const factRow = (facts: CallFacts): Record<string, unknown> => ({
  door: facts.door, operation: facts.operation, request_id: facts.requestId ?? undefined, plan_id: facts.planId ?? undefined, session_id: facts.sessionId ?? undefined,
  end_user: facts.endUser ?? undefined, tags: facts.tags.length > 0 ? facts.tags : undefined, call_hash: facts.callHash ?? undefined, max_tokens: facts.maxTokens,
  prompt_tokens_estimate: facts.promptTokensEstimate, hold: facts.hold ?? undefined, asked_input_tokens: facts.askedInputTokens ?? undefined,
  reasoning_effort: facts.reasoningEffort ?? undefined, route_version: facts.routeVersion ?? undefined, route_rule: facts.routeRule ?? undefined,
  route_flags: facts.routeFlags.length > 0 ? facts.routeFlags : undefined,
});

const admitRow = (call: NewCall, nr: number, again: boolean): Record<string, unknown> => ({
  nr, again, id: call.id, organization_id: call.organizationId, user_id: call.userId, token_id: call.tokenId, project_id: call.projectId,
  conversation_id: call.question?.conversationId, question_id: call.question?.messages.at(-1)?.id, parent_id: call.question?.parentId, branch_ids: call.question?.branchIds,
  messages: call.question ? questionRows(call.question) : undefined, agent: call.agent, scenario: call.scenario, trace_id: call.traceId, model: call.model, upstream: call.upstream,
  streamed: call.streamed, owner: call.owner, deadline_ms: call.deadlineMs, ...factRow(call),
  key: call.idempotency?.key, input_hash: call.idempotency?.inputHash,
});

/** Each message follows the one before it. */
function questionRows(question: Question): Record<string, unknown>[] {
  let parentId = question.parentId;
  return question.messages.map((message: StoredMessage) => {
    const row = {
      id: message.id, parent_id: parentId, role: message.role, content: message.content, parts: message.parts ?? undefined, tool_calls: message.toolCalls ?? undefined,
      tool_call_id: message.toolCallId, name: message.name,
    };
    parentId = message.id;
    return row;
  });
}

/** How long the statement took until here, inside Postgres. Its commit comes after that. */
const STATEMENT_MS = `extract(epoch FROM clock_timestamp() - statement_timestamp())::float8 * 1000 AS "statementMs"`;
const ADMIT = `SELECT weir.admit($1::json) AS answer, ${STATEMENT_MS}`;
// The notification comes with the answer: settling is one round trip.
const SETTLE = `SELECT settled, stale, extract(epoch FROM waited)::float8 * 1000 AS "waitedMs", ${STATEMENT_MS}, ${notifyAlerts('alerted')} FROM weir.settle($1::json)`;
const CORRECT = `SELECT corrected, ${notifyAlerts('alerted')} FROM weir.correct($1::json, $2)`;

/** Of one call; which fields there are depends on its fate. */
interface FateDetail { occurredAt: string; budgetIds: string[]; budgetDates: string[]; budget: BudgetJson; room: string; onlyHeld: boolean; callId: string; stored: unknown; firstUsedAt: string }
/** A budget as the function writes it: numbers with their trailing zeros, times as text. */
type BudgetJson = Omit<Budget, 'periodStart' | 'resetsAt'> & { periodStart: string; resetsAt: string };
/** What the function says of a group of calls. */
interface AdmissionSql {
  occurredAt: string;
  /** The period rows that anything of the group is held on, side by side; null: none. */
  budgets: string[] | null;
  dates: string[] | null;
  fates: string[];
  /** By call: which of them, counted from 1, as a Postgres array; null: none. */
  places: (string | null)[];
  details: (FateDetail | null)[];
  /** Milliseconds for period rows that others held; null: no budget applied. */
  waitedMs: number | null;
}
interface SettlementSql { settled: string[]; stale: string[] | null; waitedMs: number | null; statementMs: number }

/** A group of calls that shared one commit. Milliseconds. */
export interface SlowGroup {
  what: 'admission' | 'settlement';
  calls: number;
  elapsedMs: number;
  /** Inside Postgres, until the commit; `waitedMs` of it for rows that others held. */
  statementMs: number;
  waitedMs: number | null;
}
/** Milliseconds that a group may take before it is reported. */
const SLOW_MS = 20;

/** null: ask once more. */
function readAdmission(answer: AdmissionSql, at: number, call: NewCall): Admission | null {
  const fate = answer.fates[at]!;
  const detail = answer.details[at];
  switch (fate) {
    case 'ADMITTED': {
      // A call that was asked for again has the time and the budgets of its first try.
      if (detail) return { kind: 'ADMITTED', id: call.id, occurredAt: detail.occurredAt, heldOn: heldOn(detail.budgetIds, detail.budgetDates) };
      const places = answer.places[at]?.slice(1, -1).split(',').map((place) => Number(place) - 1) ?? [];
      return { kind: 'ADMITTED', id: call.id, occurredAt: answer.occurredAt, heldOn: places.map((place) => ({ budgetId: answer.budgets![place]!, startsOn: answer.dates![place]! })) };
    }
    case 'BUDGET_EXCEEDED':
      return { kind: 'BUDGET_EXCEEDED', budget: readBudget(detail!.budget), room: canonicalDecimal(detail!.room), onlyHeld: detail!.onlyHeld };
    case 'REPLAY':
      return { kind: 'REPLAY', callId: detail!.callId, stored: detail!.stored };
    case 'RUNNING':
      return { kind: 'RUNNING', callId: detail!.callId };
    case 'CONFLICT':
      return { kind: 'CONFLICT', firstUsedAt: new Date(detail!.firstUsedAt) };
    case 'UNPRICED':
    case 'NO_CONVERSATION':
      return { kind: fate };
    case 'AGAIN':
      return null;
    default:
      // ENDED: others took this process for dead while it waited for the answer of its first try.
      throw new AppError('SERVICE_UNAVAILABLE', { internal: `call ${call.id} was ended by others before it began: ${fate}` });
  }
}

const heldOn = (budgetIds: string[], dates: string[]): HeldOn[] => budgetIds.map((budgetId, i) => ({ budgetId, startsOn: dates[i]! }));

const readBudget = (row: BudgetJson): Budget => ({
  ...row,
  limit: canonicalDecimal(row.limit),
  softLimit: row.softLimit === null ? null : canonicalDecimal(row.softLimit),
  spent: canonicalDecimal(row.spent),
  held: canonicalDecimal(row.held),
  remaining: canonicalDecimal(row.remaining),
  overage: canonicalDecimal(row.overage),
  periodStart: new Date(row.periodStart),
  resetsAt: new Date(row.resetsAt),
});

/** What the proxy's response cache had to do with it; ends of before the columns have neither. */
const cacheRow = ({ cacheUse, cachedTokens: saved }: CallEnd): Record<string, unknown> => ({
  cache_use: cacheUse === 'NO' ? undefined : cacheUse,
  ...(saved && {
    cached_uncached_prompt_tokens: saved.uncachedPrompt, cached_cache_read_tokens: saved.cacheRead, cached_cache_write_tokens: saved.cacheWrite,
    cached_cache_write_one_hour_tokens: saved.cacheWriteOneHour, cached_output_tokens: saved.output, cached_reasoning_tokens: saved.reasoning,
  }),
});

const settleRow = (end: CallEnd): Record<string, unknown> => ({
  organization_id: end.organizationId, occurred_at: end.occurredAt, id: end.id, user_id: end.userId, token_id: end.tokenId, project_id: end.projectId,
  conversation_id: end.conversationId, agent: end.agent, scenario: end.scenario, trace_id: end.traceId, streamed: end.streamed, model: end.model,
  served_model: end.servedModel, provider: end.provider, deployment: end.deployment, upstream: end.upstream, attempts: end.attempts, status: end.status,
  error_code: end.errorCode, finish_reason: end.finishReason, uncached_prompt_tokens: end.tokens.uncachedPrompt, cache_read_tokens: end.tokens.cacheRead,
  cache_write_tokens: end.tokens.cacheWrite, cache_write_one_hour_tokens: end.tokens.cacheWriteOneHour, output_tokens: end.tokens.output,
  reasoning_tokens: end.tokens.reasoning, usage_source: end.usageSource, raw_usage: end.rawUsage, price_number: end.priceNumber, service_tier: end.serviceTier, book_number: end.priceBook ?? 0, cost: end.cost?.total,
  cost_input: end.cost?.input, cost_cache_read: end.cost?.cacheRead, cost_cache_write: end.cost?.cacheWrite, cost_output: end.cost?.output,
  cost_reasoning: end.cost?.reasoning, cost_request: end.cost?.request, proxy_cost: end.proxyCost, latency_ms: end.latencyMs,
  time_to_first_token_ms: end.timeToFirstTokenMs, omitted_messages: end.omittedMessages, answer_id: end.answer?.id, question_id: end.answer?.questionId,
  content: end.answer?.content, reasoning: end.answer?.reasoning, tool_calls: end.answer?.toolCalls?.length ? end.answer.toolCalls : undefined, complete: end.answer?.complete,
  key: end.idempotency?.key, stored: end.idempotency?.stored ?? undefined, budget_ids: end.heldOn.map(({ budgetId }) => budgetId), budget_dates: end.heldOn.map(({ startsOn }) => startsOn),
  ...cacheRow(end),
  ...(end.facts && factRow(end.facts)),
});

/** The only writer of calls in flight and of usage rows. What comes at the same time shares a commit. */
export class CallStore {
  private readonly admissions = new Grouped((calls: NewCall[]) => this.writeCalls(calls), { isForAll });
  /** Calls whose first try was not answered: it may have been carried out. */
  private readonly asked = new WeakSet<NewCall>();
  private reloading: Promise<void> | null = null;
  private readonly settlements = new Grouped((ends: CallEnd[]) => this.writeEnds(ends), { isForAll });

  /** `prices`: what ends are priced by again when the price book has changed before they were settled. */
  constructor(
    private readonly db: Db,
    private readonly prices: Prices | null = null,
    private readonly onSlow: (group: SlowGroup) => void = () => {},
  ) {}

  /**
   * Admits calls, each alone or not at all: claims its idempotency key, holds its worst case at every budget that applies, writes it down, with
   * its question where it belongs to a conversation. Answers in the order of the calls, which is the order in which they are granted.
   */
  async admit(calls: readonly NewCall[]): Promise<Admission[]> {
    return Promise.all(calls.map((call) => this.admitOne(call)));
  }

  /** Writes usage rows and answers, books costs, releases what was held, removes the calls in flight. Gives the ids of those that were not settled before. */
  async settle(ends: readonly CallEnd[]): Promise<string[]> {
    const isNew = await Promise.all(ends.map((end) => this.settleOne(end)));
    return ends.filter((_, i) => isNew[i]).map((end) => end.id);
  }

  /** Later knowledge about settled calls: a reversal and a new row each. Gives the ids of those where something differed. */
  async correct(ends: readonly CallEnd[], reason: string): Promise<string[]> {
    return whenFree(async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          const [row] = await this.db.query<{ corrected: string[] }>(CORRECT, [storableJson(ends.map(settleRow)), reason]);
          return row!.corrected;
        } catch (error) {
          if ((error as { code?: unknown }).code !== PRICES_CHANGED || tries === MAX_PRICINGS) throw error;
          await this.repriceAll(ends);
        }
      }
    });
  }

  /** Asks whoever runs a call to stop it, and tells its process so; of several reasons the first one counts. false: it is not in flight. */
  async requestStop(id: string, reason: StopReason): Promise<boolean> {
    const asked = await this.db.query(
      `WITH asked AS (UPDATE calls_in_flight SET stop_reason = coalesce(stop_reason, $2) WHERE id = $1 RETURNING owner) SELECT pg_notify('${STOPS_CHANNEL}', owner) FROM asked`,
      [id, reason],
    );
    return asked.length > 0;
  }

  /** What others have asked this owner to stop. */
  async requestedStops(owner: string): Promise<{ id: string; reason: StopReason }[]> {
    return this.db.query('SELECT id, stop_reason AS reason FROM calls_in_flight WHERE owner = $1 AND stop_reason IS NOT NULL', [owner]);
  }

  async isInFlight(id: string): Promise<boolean> {
    return (await this.db.query('SELECT FROM calls_in_flight WHERE id = $1', [id])).length > 0;
  }

  /** Monthly partitions of `llm_usage`, the current month's and the following ones. Gives how many were made. */
  async ensurePartitions(monthsAhead: number): Promise<number> {
    const [row] = await this.db.query<{ made: number }>('SELECT weir.ensure_usage_partitions($1) AS made', [monthsAhead]);
    return row!.made;
  }

  private async admitOne(call: NewCall): Promise<Admission> {
    const startedAt = performance.now();
    for (let failures = 0; ; ) {
      try {
        const admission = await this.admissions.add(call);
        // What went first in its group has ended with that group: the next round decides.
        if (admission) return admission;
      } catch (error) {
        const waitMs = ADMIT_AGAIN_AFTER_MS[failures];
        // The connection is gone, and nobody knows whether the call is written: asked for again, it is not written twice.
        if (waitMs === undefined || !mayPass(error) || performance.now() - startedAt > ADMIT_WITHIN_MS) throw error;
        failures += 1;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  private async repriceAll(ends: readonly CallEnd[]): Promise<void> {
    if (!this.prices) throw new Error('the price book has changed, and there is none to price by');
    // One for all that were refused together.
    this.reloading ??= this.prices.reload().finally(() => (this.reloading = null));
    await this.reloading;
    for (const end of ends) reprice(end, this.prices);
  }

  /** What else goes wrong is for the caller: it has other places to keep an end. */
  private settleOne(end: CallEnd): Promise<boolean> {
    return whenFree(async () => {
      for (let tries = 1; ; tries += 1) {
        const settled = await this.settlements.add(end);
        if (settled !== 'STALE') return settled;
        if (tries === MAX_PRICINGS) throw new Error(`call ${end.id} was priced ${tries} times, and each time the price book had changed`);
        await this.repriceAll([end]);
      }
    });
  }

  /** Repeated after a lost acknowledgement, a call is not written twice. */
  private async writeCalls(calls: NewCall[]): Promise<(Admission | null)[]> {
    const rows = calls.map((call, i) => admitRow(call, i + 1, this.asked.has(call)));
    for (const call of calls) this.asked.add(call);
    const startedAt = performance.now();
    const [row] = await this.db.hot<{ answer: AdmissionSql; statementMs: number }>('admit', ADMIT, [storableJson(rows)]);
    this.report({ what: 'admission', calls: calls.length, startedAt, statementMs: row!.statementMs, waitedMs: row!.answer.waitedMs });
    return calls.map((call, i) => {
      this.asked.delete(call);
      return readAdmission(row!.answer, i, call);
    });
  }

  private report({ startedAt, ...group }: Omit<SlowGroup, 'elapsedMs'> & { startedAt: number }): void {
    const elapsedMs = performance.now() - startedAt;
    if (elapsedMs > SLOW_MS) this.onSlow({ ...group, elapsedMs });
  }

  /** Two ends of one call in a group, as of a slow owner and of recovery: the first one is settled, and the other was not the first. */
  private async writeEnds(all: CallEnd[]): Promise<(boolean | 'STALE')[]> {
    const firsts = new Map<string, CallEnd>();
    for (const end of all) if (!firsts.has(end.id)) firsts.set(end.id, end);
    const ends = [...firsts.values()];
    const startedAt = performance.now();
    const [row] = await this.db.hot<SettlementSql>('settle', SETTLE, [storableJson(ends.map(settleRow))]);
    const { settled, stale, statementMs, waitedMs } = row!;
    this.report({ what: 'settlement', calls: ends.length, startedAt, statementMs, waitedMs });
    const found = new Map<string, true | 'STALE'>();
    for (const id of settled) found.set(id, true);
    for (const id of stale ?? []) found.set(id, 'STALE');
    return all.map((end) => (firsts.get(end.id) === end ? (found.get(end.id) ?? false) : false));
  }
}
