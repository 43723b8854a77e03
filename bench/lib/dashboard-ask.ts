import type { Db } from '../../src/database/pool';
import { canonicalDecimal } from '../../src/lib/decimal';
import type { Viewer } from '../../src/domain/principal';
import { groupByRaw, newestCalls, recompute, recomputeNewest } from '../baselines/group-by';
import { differenceOf } from './dashboard-compare';
import { questions, rawQuestion, type Question } from './dashboard-questions';
import { OPERATOR, organizations, userIds, viewerOf } from './dashboard-shape';
import { median, percentile } from './figures';
import type { UsageService } from '../../src/services/usage/usage.service';

/**
 * Asks of each question, after some that only warm up; of the baseline as many as go into some seconds, and never fewer
 * than three.
 */
const ASKS = 30;
const WARM_UP = 5;
const BASELINE_MS = 3_000;
const NEWEST = 50;

export interface Asker {
  label: string;
  organizationId: string;
  /** Milliseconds that an answer may take. */ reachMs: number;
  viewer: Viewer;
  busiestUser: string;
}
export interface Asked {
  nr: number;
  text: string;
  asker: Asker;
  product: number[];
  baseline: number[];
  /** null: all digits are equal. */ difference: string | null;
}

/** Somebody who may see the figures of the organisation that has this rank in size. */
export function askerOf(rank: number, label: string, reachMs: number): Asker {
  const { id, firstUser } = organizations[rank - 1]!;
  // Those who come first in an organisation use most; the very first is its analyst.
  return {
    label,
    organizationId: id,
    reachMs,
    viewer: viewerOf('ANALYST', id, userIds[firstUser]!),
    busiestUser: userIds[firstUser]!,
  };
}

/** Milliseconds of each try. */
async function timed(
  work: () => Promise<unknown>,
  options: { warmUp: number; tries: number; withinMs: number },
): Promise<number[]> {
  for (let i = 0; i < options.warmUp; i += 1) await work();
  const found: number[] = [];
  const startedAt = performance.now();
  while (found.length < options.tries && (found.length < 3 || performance.now() - startedAt < options.withinMs)) {
    const at = performance.now();
    await work();
    found.push(performance.now() - at);
  }
  return found;
}

/**
 * Asks all of them for one organisation (the twelfth is of all), and holds the answers against what the rows and the
 * price book say.
 */
export async function askAll(
  db: Db,
  usage: UsageService,
  asker: Asker,
  which: (nr: number) => boolean = () => true,
): Promise<Asked[]> {
  const found: Asked[] = [];
  for (const question of questions) {
    if (which(question.nr)) found.push(await askSum(db, usage, asker, question));
    // In the order of their numbers.
    if (question.nr === 10 && which(11)) found.push(await askCalls(db, usage, asker));
  }
  return found;
}

export const askOnce = (usage: UsageService, asker: Asker, question: Question): ReturnType<UsageService['report']> =>
  usage.report(question.ofAll ? OPERATOR : asker.viewer, question.query);

async function askSum(db: Db, usage: UsageService, asker: Asker, question: Question): Promise<Asked> {
  const raw = rawQuestion(question, asker.organizationId);
  const report = await askOnce(usage, asker, question);
  const difference = differenceOf(report, await recompute(db, raw, question.query.pricesAsOf ?? null));
  const product = await timed(() => askOnce(usage, asker, question), {
    warmUp: WARM_UP,
    tries: ASKS,
    withinMs: Infinity,
  });
  const baseline = await timed(() => groupByRaw(db, raw), { warmUp: 1, tries: ASKS, withinMs: BASELINE_MS });
  return { nr: question.nr, text: question.text, asker, product, baseline, difference };
}

async function askCalls(db: Db, usage: UsageService, asker: Asker): Promise<Asked> {
  const { organizationId, viewer, busiestUser } = asker;
  const filter = { userIds: [busiestUser] };
  const ask = (): ReturnType<UsageService['calls']> => usage.calls(viewer, filter, { first: NEWEST, after: null });
  const page = await ask();
  const expected = await recomputeNewest(db, organizationId, busiestUser, NEWEST);
  const shown = page.edges.map(({ node }) => `${node.id} ${node.cost?.total ?? null}`);
  const wanted = expected.map(({ id, cost }) => `${id} ${cost === null ? null : canonicalDecimal(cost)}`);
  const first = wanted.findIndex((call, i) => call !== shown[i]);
  const difference =
    shown.length !== wanted.length
      ? `${shown.length} calls instead of ${wanted.length}`
      : first >= 0
        ? `${shown[first]} instead of ${wanted[first]}`
        : null;
  const product = await timed(ask, { warmUp: WARM_UP, tries: ASKS, withinMs: Infinity });
  const baseline = await timed(() => newestCalls(db, organizationId, busiestUser, NEWEST), {
    warmUp: 1,
    tries: ASKS,
    withinMs: BASELINE_MS,
  });
  return { nr: 11, text: `newest ${NEWEST} calls of a user`, asker, product, baseline, difference };
}

const ms = (value: number): string => (value < 100 ? value.toFixed(1) : Math.round(value).toString());

/** Rows of the table, as people read them. */
export const rowsOf = (asked: readonly Asked[]): string[][] => [
  ['', 'question', 'organisation', 'fastest ms', 'median ms', 'p95 ms', 'GROUP BY ms', 'faster', 'reach'],
  ...asked.map(({ nr, text, asker, product, baseline }) => {
    const reached = percentile(product, 0.95) < asker.reachMs;
    return [
      String(nr),
      text,
      asker.label,
      ms(Math.min(...product)),
      ms(median(product)),
      ms(percentile(product, 0.95)),
      ms(median(baseline)),
      `${(median(baseline) / median(product)).toFixed(1)} ×`,
      `${reached ? 'met' : 'MISSED'} (${asker.reachMs})`,
    ];
  }),
];
