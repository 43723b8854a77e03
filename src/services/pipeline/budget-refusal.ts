import type { Budget } from '../../domain/budget';
import type { Admission } from '../../domain/call';
import type { CatalogModel, CatalogSnapshot } from '../../domain/model';
import { allows } from '../../domain/plan';
import type { Refusal } from '../../domain/refusal';
import { Decimal } from '../../lib/decimal';
import { worstCaseCost } from '../ledger/bound';
import type { PriceBook } from '../pricing/price-book';
import type { WorstRates } from '../pricing/worst-rates';
import type { Caller } from './1-identify';
import type { Operation, Prompt } from './operation';

/** A call that was not admitted, as it was to be reserved. */
export interface NotAdmitted {
  admission: Extract<Admission, { kind: 'BUDGET_EXCEEDED' }>;
  /** Dollars, decimal string: its worst case. */
  needed: string;
  prepared: {
    caller: Caller;
    operation: Pick<Operation, 'mode'>;
    model: CatalogModel;
    maxTokens: number;
    prompt: Pick<Prompt, 'tokensBound' | 'needs' | 'estimatedTokens'>;
  };
  /** Tokens: the upper bound of the prompt. */
  promptBound: number;
  catalog: CatalogSnapshot;
  prices: Pick<PriceBook, 'worstRates'>;
}

/** Another try may succeed this soon where calls that still run hold the money: most cost less than they hold. */
const RETRY_AFTER_MS = 1_000;

/**
 * What a caller who was refused for a budget can do: ask for less, ask another model, wait for running calls, wait for
 * the next period.
 */
export function budgetExceeded(call: NotAdmitted): Refusal {
  const { budget } = call.admission;
  const heldByOthers = call.admission.onlyHeld;
  return {
    kind: 'BudgetExceeded',
    code: 'BUDGET_EXCEEDED',
    message: messageOf(budget, call, heldByOthers),
    retryable: heldByOthers,
    retryAfterMs: heldByOthers ? RETRY_AFTER_MS : null,
    budget,
    needed: call.needed,
    resetsAt: budget.resetsAt,
    maxTokensThatFit: maxTokensThatFit(call),
    modelsThatFit: modelsThatFit(call),
  };
}

/** A budget applies, and what the call may cost is not known: unknown is not free. */
export const modelUnpriced = (model: string): Refusal => ({
  kind: 'ModelUnpriced',
  code: 'MODEL_UNPRICED',
  message: `A budget applies, and no price is known for the model ${model}. An operator can enter one (setModelPrice).`,
  retryable: false,
  retryAfterMs: null,
  model,
});

const ratesOf = (model: CatalogModel, { prepared, prices }: NotAdmitted, promptBound: number): WorstRates | null =>
  prices.worstRates([model.id, ...model.fallbacks], prepared.caller.viewer.organizationId, promptBound);

const fits = (promptBound: number, maxTokens: number, rates: WorstRates, room: Decimal): boolean =>
  Decimal.parse(worstCaseCost(promptBound, maxTokens, rates)).compare(room) <= 0;

/** The longest answer that there is room for with the same prompt; null: not one token. */
function maxTokensThatFit(call: NotAdmitted): number | null {
  const { promptBound, prepared } = call;
  const { plan } = prepared.caller;
  const room = Decimal.parse(call.admission.room);
  const rates = ratesOf(prepared.model, call, promptBound);
  if (!rates || !fits(promptBound, 1, rates, room)) return null;
  // Where neither says a limit, more than was asked for is not offered.
  const limits = [plan.limits.maxOutputTokens, prepared.model.maxOutputTokens].filter((limit) => limit !== null);
  let most = limits.length > 0 ? Math.min(...limits) : prepared.maxTokens;
  // Halving, because decimals are not divided: twenty steps for a million tokens.
  let least = 1;
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (fits(promptBound, middle, rates, room)) least = middle;
    else most = middle - 1;
  }
  return least;
}

/**
 * Other models of the plan that could take the same call now: they can do what it needs, their context holds it, and
 * there is room for it. In the catalogue's order.
 */
function modelsThatFit(call: NotAdmitted): string[] {
  const { catalog } = call;
  const { caller, operation, model: asked, maxTokens, prompt } = call.prepared;
  const room = Decimal.parse(call.admission.room);
  const needs = prompt.needs(asked);
  const canTake = (model: CatalogModel): boolean => {
    const isOther = model.id !== asked.id && model.mode === operation.mode && allows(caller.plan, model);
    if (!isOther || !needs.every((need) => model.capabilities.includes(need))) return false;
    const answer = Math.min(maxTokens, model.maxOutputTokens ?? maxTokens);
    if (model.contextWindow !== null && prompt.estimatedTokens + answer > model.contextWindow) return false;
    const bound = prompt.tokensBound(model, catalog.byId);
    const rates = ratesOf(model, call, bound);
    return rates !== null && fits(bound, answer, rates, room);
  };
  return catalog.models.filter(canTake).map((model) => model.id);
}

const PERIODS = { DAY: 'daily', WEEK: 'weekly', MONTH: 'monthly' } as const;
const SUBJECTS = {
  ORGANIZATION: 'the organisation',
  PROJECT: 'the project',
  USER: 'the user',
  API_TOKEN: 'the API token',
} as const;

function messageOf(budget: Budget, call: NotAdmitted, heldByOthers: boolean): string {
  const subject = budget.planId === null ? SUBJECTS[budget.scope] : `the plan ${call.prepared.caller.plan.name}`;
  const running = heldByOthers ? ` Calls that still run hold ${dollars(budget.held, false)} of it.` : '';
  return `The ${PERIODS[budget.period]} budget of ${subject} has ${dollars(budget.remaining, false)} left; this call may cost up to ${dollars(call.needed, true)}.${running}`;
}

/**
 * Cents, or two digits of what is less than one. What is left is cut and what it costs rounded up, so that the sentence
 * is never wrong by the rounding.
 */
function dollars(amount: string, up: boolean): string {
  const [whole = '0', fraction = ''] = amount.split('.');
  const zeros = /^0*/.exec(fraction)![0].length;
  const digits = whole === '0' && zeros >= 2 && zeros < fraction.length ? zeros + 2 : 2;
  const cut = `${whole}.${fraction.slice(0, digits).padEnd(digits, '0')}`;
  if (!up || !/[1-9]/.test(fraction.slice(digits))) return `$${cut}`;
  const [more, cents = ''] = Decimal.parse(cut)
    .plus(Decimal.parse(`1e-${digits}`))
    .toString()
    .split('.');
  return `$${more}.${cents.padEnd(2, '0')}`;
}
