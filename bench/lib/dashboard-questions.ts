import type { RawQuestion } from '../baselines/group-by';
import type { UsageDimension, UsageQuery } from '../../src/services/usage/usage.types';
import { toldPrices } from './dashboard-prices';
import { END } from './dashboard-shape';

export interface Question {
  nr: number;
  text: string;
  ofAll: boolean;
  query: UsageQuery & { pricesAsOf?: Date | null };
  latency: boolean;
}

const DAY_MS = 86_400_000;
/** Corrections that a question goes back over. */
const CORRECTIONS_AGO = 20;
const utc = (month: number, day = 1): Date => new Date(Date.UTC(END.getUTCFullYear(), month, day));
const THIS_MONTH = utc(END.getUTCMonth());
const TODAY = utc(END.getUTCMonth(), END.getUTCDate());
// Weeks begin on Monday.
const THIS_WEEK = new Date(TODAY.getTime() - ((TODAY.getUTCDay() + 6) % 7) * DAY_MS);
const KOLKATA_AHEAD_MS = 5.5 * 3_600_000;

/** When the book stood as it did so many corrections ago: the moment before the next one was recorded. */
const asOfCorrectionsAgo = (): Date => new Date(toldPrices().at(-CORRECTIONS_AGO)!.recordedAt.getTime() - 1);

const ask = (
  nr: number,
  text: string,
  groupBy: UsageDimension[],
  from: Date,
  more: Partial<Question['query']> = {},
): Question => ({
  nr,
  text,
  ofAll: nr === 12,
  latency: nr === 7,
  query: {
    interval: null,
    timeZone: 'UTC',
    orderBy: 'COST_DESC',
    limit: 1_000,
    groupBy,
    ...more,
    filter: { from, ...more.filter },
  },
});

/**
 * The questions of a dashboard. What goes on until now has no end: nothing is later. The eleventh is no sum
 * (dashboard-ask.ts).
 */
export const questions: Question[] = [
  ask(1, 'today so far', [], TODAY),
  ask(2, 'this month by model', ['MODEL'], THIS_MONTH),
  ask(3, 'by day this month, Asia/Kolkata', [], new Date(THIS_MONTH.getTime() - KOLKATA_AHEAD_MS), {
    interval: 'DAY',
    timeZone: 'Asia/Kolkata',
  }),
  ask(4, 'twelve months by model', ['MODEL'], utc(END.getUTCMonth() - 11), { interval: 'MONTH' }),
  ask(5, 'top 20 users this month', ['USER'], THIS_MONTH, { limit: 20 }),
  ask(6, 'projects × models last month', ['PROJECT', 'MODEL'], utc(END.getUTCMonth() - 1), {
    filter: { to: THIS_MONTH },
  }),
  ask(7, 'p95 latency by model and day, 30 days', ['MODEL'], new Date(TODAY.getTime() - 29 * DAY_MS), {
    interval: 'DAY',
  }),
  ask(8, 'failed calls by provider this week', ['PROVIDER'], THIS_WEEK, { filter: { statuses: ['FAILED', 'LOST'] } }),
  ask(9, 'scenarios × models this quarter', ['SCENARIO', 'MODEL'], utc(END.getUTCMonth() - (END.getUTCMonth() % 3))),
  ask(10, 'last month as of 20 corrections ago', ['MODEL'], utc(END.getUTCMonth() - 1), {
    filter: { to: THIS_MONTH },
    pricesAsOf: asOfCorrectionsAgo(),
  }),
  ask(12, 'all organisations by model, this month', ['MODEL'], THIS_MONTH),
];

export const rawQuestion = (question: Question, organizationId: string): RawQuestion => {
  const { query, ofAll, latency } = question;
  return {
    organizationId: ofAll ? null : organizationId,
    from: query.filter.from!,
    to: query.filter.to ?? null,
    groupBy: query.groupBy,
    interval: query.interval as RawQuestion['interval'],
    timeZone: query.timeZone,
    statuses: query.filter.statuses ?? null,
    limit: query.limit,
    latency,
  };
};
