import type { Rates } from '../../src/services/pricing/pricing.types';
import { drawn, END, models, START } from './dashboard-shape';

/** A price as an operator would tell it, at a time. */
export interface ToldPrice {
  model: string;
  from: Date;
  rates: Rates;
  recordedAt: Date;
  note: string;
}

const DAY_MS = 86_400_000;
const CORRECTIONS = 40;
/**
 * The last ones were recorded since the month began, and reach back into the month before: a question asks for the book
 * before them.
 */
export const RECENT_CORRECTIONS = 22;

const perToken = (dollarsForMillion: number): string => (Math.round(dollarsForMillion * 10_000) / 1e10).toFixed(10);

function ratesOf(index: number, factor: number): Rates {
  const input = models[index]!.input ?? 2;
  const rates = (times: number): Rates => ({
    input: perToken(input * times),
    cacheRead: perToken(input * times * 0.1),
    cacheWrite: perToken(input * times * 1.25),
    cacheWriteOneHour: perToken(input * times * 2),
    output: perToken(input * times * 4),
  });
  const base = rates(factor);
  // Every fifth model is dearer for long prompts, every eighth has a price for reasoning of its own.
  if (index % 5 === 0) base.tiers = [{ abovePromptTokens: 128_000, ...rates(factor * 2) }];
  if (index % 8 === 1) base.reasoning = perToken(input * factor * 6);
  return base;
}

/** The first price of each model that has one, and the corrections, in the order in which they were recorded. */
export function toldPrices(): ToldPrice[] {
  const first = models.flatMap(({ id, input }, i) =>
    input === null
      ? []
      : [
          {
            model: id,
            from: new Date(START.getTime() - 20 * DAY_MS),
            rates: ratesOf(i, 1),
            recordedAt: new Date(START.getTime() - 30 * DAY_MS + i),
            note: 'list price',
          },
        ],
  );
  const monthStart = Date.UTC(END.getUTCFullYear(), END.getUTCMonth(), 1);
  const corrections = Array.from({ length: CORRECTIONS }, (_, nth): ToldPrice => {
    const recent = nth - (CORRECTIONS - RECENT_CORRECTIONS);
    // The older ones through the two years, the recent ones evenly since the month began.
    const recordedAt =
      recent < 0
        ? new Date(
            START.getTime() +
              ((nth + 1) * (monthStart - 40 * DAY_MS - START.getTime())) / (CORRECTIONS - RECENT_CORRECTIONS + 1),
          )
        : new Date(monthStart + (recent + 0.5) * ((END.getTime() - 6 * 3_600_000 - monthStart) / RECENT_CORRECTIONS));
    const back = 5 + Math.floor(drawn('back', nth) * 25);
    // The most used model is left alone: its turn comes when a correction is measured. The last but one has no price
    // until the end.
    const index = nth === CORRECTIONS - 1 ? models.length - 2 : 1 + ((nth * 7) % 40);
    const from = new Date(Math.floor((recordedAt.getTime() - back * DAY_MS) / DAY_MS) * DAY_MS);
    return {
      model: models[index]!.id,
      from,
      rates: ratesOf(index, Math.round((0.7 + drawn('factor', nth) * 0.6) * 100) / 100),
      recordedAt: new Date(Math.floor(recordedAt.getTime())),
      note: `correction ${nth + 1}`,
    };
  });
  return [...first, ...corrections];
}
