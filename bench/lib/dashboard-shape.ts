import { createHash } from 'node:crypto';
import type { Viewer } from '../../src/domain/principal';

/**
 * What the installation of the dashboard's measurement looks like; bench/README.md says it in words. The same numbers
 * give the same rows, always.
 */
export const SEED = 20_261_121;
/** Part of the folder's mark: raised where a change here or in the rows' SQL makes other rows. */
export const SHAPE_VERSION = 2;

/**
 * The rows end here, on a Friday afternoon; the database's clock is turned back so that it is this time when the
 * questions are asked.
 */
export const END = new Date('2026-11-20T15:00:00Z');
export const START = new Date('2024-11-20T00:00:00Z');
/** Milliseconds before the end at which the last call is made: all of them are settled by then. */
export const LAST_CALL_BEFORE_MS = 15 * 60_000;
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

const ORGANIZATIONS = 1_000;
const MODELS = 60;
export const MODELS_PER_ORGANIZATION = 12;
const USERS = 50_000;
const PROJECTS = 4_000;

export interface Organization {
  rank: number;
  id: string;
  name: string;
  /** Of all calls. */ share: number;
  firstUser: number;
  users: number;
  firstProject: number;
  projects: number;
  models: number[];
}
export interface Model {
  id: string;
  provider: string;
  reasons: boolean;
  /** Milliseconds for a token. */ pace: number;
  /** Dollars for a million tokens; null: nobody has told a price yet. */ input: number | null;
}
export interface Day {
  startsAt: Date;
  rows: number;
  firstRow: number;
  /** The share of a whole day's calls that the day has: the last one ends in the afternoon. */ until: number;
}

/** A number in [0, 1) that is always the same for the same words. */
export const drawn = (...words: (string | number)[]): number =>
  createHash('sha256')
    .update([SEED, ...words].join('/'))
    .digest()
    .readUInt32BE(0) /
  2 ** 32;

/** An id as the product makes them, whose letters happen to be hexadecimal. */
export const idOf = (prefix: string, number: number): string =>
  `${prefix}_01cfe0f2000${createHash('sha256').update(`${SEED}/${prefix}/${number}`).digest('hex').slice(0, 15)}`;

const PROVIDERS = ['openai', 'anthropic', 'google', 'mistral', 'meta', 'deepseek', 'cohere', 'alibaba'];

export const models: Model[] = Array.from({ length: MODELS }, (_, i) => {
  const provider = PROVIDERS[i % PROVIDERS.length]!;
  return {
    id: `${provider}/model-${String(i + 1).padStart(2, '0')}`,
    provider,
    reasons: i % 4 === 1,
    pace: 5 + Math.floor(drawn('pace', i) * 20),
    // The two last ones have no price.
    input: i < MODELS - 2 ? Math.round(10 ** (drawn('price', i) * 2 - 0.8) * 100) / 100 : null,
  };
});

/** Calls by Zipf: the n-th organisation has 1/n of what the first has. Users and projects grow slower than calls. */
export const organizations: Organization[] = (() => {
  const ranks = Array.from({ length: ORGANIZATIONS }, (_, i) => i + 1);
  const sum = (weight: (rank: number) => number): number => ranks.reduce((total, rank) => total + weight(rank), 0);
  const harmonic = sum((rank) => 1 / rank);
  const users = shareOut(
    USERS,
    ranks.map((rank) => rank ** -0.7),
  );
  const projects = shareOut(
    PROJECTS,
    ranks.map((rank) => rank ** -0.5),
  );
  let [firstUser, firstProject] = [0, 0];
  return ranks.map((rank, i) => {
    const organization = {
      rank,
      id: idOf('org', rank),
      name: `Organisation ${rank}`,
      share: 1 / rank / harmonic,
      firstUser,
      users: users[i]!,
      firstProject,
      projects: projects[i]!,
      models: modelsOf(rank),
    };
    firstUser += users[i]!;
    firstProject += projects[i]!;
    return organization;
  });
})();

/** Whole numbers that add up to `total`, at least one each. */
function shareOut(total: number, weights: number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  const parts = weights.map((weight) => Math.max(1, Math.floor((total * weight) / sum)));
  const left = total - parts.reduce((a, b) => a + b, 0);
  return parts.map(
    (part, i) => part + Math.floor(((i + 1) * left) / parts.length) - Math.floor((i * left) / parts.length),
  );
}

/**
 * A dozen of the models, best loved first. Some are loved by many: the index is drawn with a square. The biggest
 * organisation uses the first of all most.
 */
function modelsOf(rank: number): number[] {
  const chosen: number[] = [];
  if (rank === 1) chosen.push(0);
  for (let nth = 0; chosen.length < MODELS_PER_ORGANIZATION; nth += 1) {
    const model = Math.floor(drawn('model', rank, nth) ** 2 * MODELS);
    if (!chosen.includes(model)) chosen.push(model);
  }
  return chosen;
}

export const userIds = Array.from({ length: USERS }, (_, i) => idOf('usr', i));
export const projectIds = Array.from({ length: PROJECTS }, (_, i) => idOf('prj', i));
export const tokenIdOf = (user: number): string => idOf('tok', user);
export const PLAN_ID = idOf('pln', 1);

export const viewerOf = (role: Viewer['role'], organizationId: string, userId: string): Viewer => ({
  userId,
  organizationId,
  role,
  planId: PLAN_ID,
  tokenId: null,
  sessionId: null,
  expiresAtMs: null,
});
export const OPERATOR = viewerOf('OPERATOR', organizations[0]!.id, userIds[0]!);

/** Calls by hour of the day (UTC), as shares of a day so far: quiet at night, busy from 8 to 17. */
export const HOURS = (() => {
  const weights = Array.from({ length: 24 }, (_, hour) => 1 + 5 * Math.exp(-(((hour - 12.5) / 4.5) ** 2)));
  const sum = weights.reduce((a, b) => a + b, 0);
  let so = 0;
  return [0, ...weights.map((weight) => (so += weight / sum))];
})();

/** How many calls each day has: twice as many a year later, a third at weekends. */
export function daysOf(rows: number): Day[] {
  const days: { startsAt: Date; weight: number; until: number }[] = [];
  const lastCall = END.getTime() - LAST_CALL_BEFORE_MS;
  for (let at = START.getTime(); at < lastCall; at += DAY_MS) {
    const startsAt = new Date(at);
    const weekend = startsAt.getUTCDay() % 6 === 0;
    const hours = Math.min(24, (lastCall - at) / 3_600_000);
    const whole = Math.floor(hours);
    const until = whole === 24 ? 1 : HOURS[whole]! + (HOURS[whole + 1]! - HOURS[whole]!) * (hours - whole);
    days.push({ startsAt, until, weight: until * (weekend ? 1 / 3 : 1) * 2 ** ((at - START.getTime()) / YEAR_MS) });
  }
  const sum = days.reduce((total, { weight }) => total + weight, 0);
  let [before, done] = [0, 0];
  return days.map(({ startsAt, weight, until }) => {
    before += weight;
    const firstRow = done;
    done = Math.round((rows * before) / sum);
    return { startsAt, until, firstRow, rows: done - firstRow };
  });
}
