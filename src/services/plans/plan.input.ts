import { badInput } from '../../errors';
import { Decimal } from '../../lib/decimal';
import type { Plan, PlanLimits, PlanEdit } from '../../domain/plan';

const MAX_MODELS = 1_000;
const MAX_MODEL_LENGTH = 200;
const MAX_NAME_LENGTH = 100;
const MAX_INTEGER = 2_147_483_647;
const NO_LIMITS: PlanLimits = {
  requestsPerMinute: null,
  tokensPerMinute: null,
  parallelCalls: null,
  maxOutputTokens: null,
  monthlyBudget: null,
};
const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * The plan that an edit makes of the one before it (null: a new plan). What the edit leaves out stays; null clears.
 * Throws BAD_USER_INPUT.
 */
export function readPlanEdit(input: PlanEdit, before: Plan | null): Omit<Plan, 'id'> {
  const name = input.name.trim();
  if (!name || name.length > MAX_NAME_LENGTH || CONTROL.test(name))
    throw badInput('name', `1 to ${MAX_NAME_LENGTH} characters, none of them control characters`);
  const models = readModels(input.models);
  return {
    name,
    models,
    defaultModel: readDefaultModel(
      input.defaultModel === undefined ? (before?.defaultModel ?? null) : input.defaultModel,
      models,
    ),
    limits: readLimits(input.limits, before?.limits ?? NO_LIMITS),
  };
}

function readModels(models: string[]): string[] {
  if (models.length > MAX_MODELS) throw badInput('models', `at most ${MAX_MODELS} entries`);
  models.forEach((entry, index) => {
    const argument = `models[${index}]`;
    if (!entry.trim() || entry !== entry.trim() || entry.length > MAX_MODEL_LENGTH || CONTROL.test(entry))
      throw badInput(argument, `a model id or provider/* of 1 to ${MAX_MODEL_LENGTH} characters`);
    const pattern = entry.endsWith('/*') ? entry.slice(0, -2) : entry;
    if (pattern === '' || pattern.includes('*'))
      throw badInput(argument, 'a star stands only at the end, after the name of a provider: provider/*');
  });
  return [...new Set(models)];
}

function readDefaultModel(model: string | null, models: string[]): string | null {
  if (model === null) return null;
  // With a provider/* entry the model may be one of that provider's: only the upstream knows.
  if (!models.includes(model) && (model.includes('*') || !models.some((entry) => entry.endsWith('/*'))))
    throw badInput('defaultModel', `${model} is not among the models of the plan: name another one, or null`);
  if (model.length > MAX_MODEL_LENGTH || CONTROL.test(model)) throw badInput('defaultModel', 'not a model id');
  return model;
}

function readLimits(edit: PlanEdit['limits'], before: PlanLimits): PlanLimits {
  if (edit === null) return NO_LIMITS;
  const limits = { ...before };
  for (const field of ['requestsPerMinute', 'tokensPerMinute', 'parallelCalls', 'maxOutputTokens'] as const) {
    const value = edit?.[field];
    if (value === undefined) continue;
    if (value !== null && !(Number.isInteger(value) && value >= 1 && value <= MAX_INTEGER))
      throw badInput(`limits.${field}`, `a whole number from 1 to ${MAX_INTEGER}, or null for no limit`);
    limits[field] = value;
  }
  if (edit?.monthlyBudget !== undefined)
    limits.monthlyBudget = edit.monthlyBudget === null ? null : readMoney(edit.monthlyBudget);
  return limits;
}

function readMoney(text: string): string {
  let money: Decimal;
  try {
    money = Decimal.parse(text);
  } catch {
    throw badInput('limits.monthlyBudget', 'not a decimal number');
  }
  if (money.isNegative) throw badInput('limits.monthlyBudget', 'at least 0');
  return money.toString();
}
