import { AppError } from '../errors';
import { Decimal } from '../lib/decimal';
import type { PriceRecord } from '../services/pricing/pricing.types';
import type { CostType, TokenUsageType } from './types/call.type';
import type { ModelPriceType } from './types/price.type';
import type { CostParts, TokenBuckets } from '../domain/money';
import type { UsageSource } from '../domain/call';

export function toTokenUsage(tokens: TokenBuckets, source: UsageSource): TokenUsageType {
  const promptTokens = tokens.uncachedPrompt + tokens.cacheRead + tokens.cacheWrite;
  const completionTokens = tokens.output + tokens.reasoning;
  return {
    promptTokens,
    uncachedPromptTokens: tokens.uncachedPrompt,
    cacheReadTokens: tokens.cacheRead,
    cacheWriteTokens: tokens.cacheWrite,
    completionTokens,
    reasoningTokens: tokens.reasoning,
    totalTokens: promptTokens + completionTokens,
    source,
  };
}

/** Part by part: a service's row may carry more than the graph shows. */
export const toCost = (cost: (CostParts & { reportedByProxy: string | null }) | null): CostType | null =>
  cost && {
    input: cost.input,
    cacheRead: cost.cacheRead,
    cacheWrite: cost.cacheWrite,
    output: cost.output,
    reasoning: cost.reasoning,
    request: cost.request,
    total: cost.total,
    currency: 'USD',
    reportedByProxy: cost.reportedByProxy,
  };

/** Rates are kept per token and shown per million: exact, since both are decimal. */
const perMillion = (rate: string): string => Decimal.parse(rate).times(1_000_000).toString();
const perMillionOrNull = (rate: string | undefined): string | null => (rate === undefined ? null : perMillion(rate));

export const toModelPrice = (record: PriceRecord): ModelPriceType => ({
  model: record.model,
  effectiveFrom: record.effectiveFrom,
  effectiveTo: record.effectiveTo,
  recordedAt: record.recordedAt,
  source: record.source,
  inputPerMillion: perMillion(record.rates.input),
  outputPerMillion: perMillion(record.rates.output),
  cacheReadPerMillion: perMillionOrNull(record.rates.cacheRead),
  cacheWritePerMillion: perMillionOrNull(record.rates.cacheWrite),
  cacheWriteOneHourPerMillion: perMillionOrNull(record.rates.cacheWriteOneHour),
  reasoningPerMillion: perMillionOrNull(record.rates.reasoning),
  perRequest: record.rates.perRequest ?? null,
  serviceTier: record.serviceTier,
  tiers: (record.rates.tiers ?? []).map((tier) => ({
    abovePromptTokens: tier.abovePromptTokens,
    inputPerMillion: perMillion(tier.input),
    outputPerMillion: perMillion(tier.output),
    cacheReadPerMillion: perMillionOrNull(tier.cacheRead),
    cacheWritePerMillion: perMillionOrNull(tier.cacheWrite),
  })),
  organizationId: record.organizationId,
});

/** A row that another row names by a foreign key: without it something is wrong on our side. */
export function mustExist<T>(row: T | null | undefined, what: string): T {
  if (row === null || row === undefined)
    throw new AppError('INTERNAL_SERVER_ERROR', { internal: `${what} is missing` });
  return row;
}
