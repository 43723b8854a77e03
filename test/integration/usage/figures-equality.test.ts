import { Decimal } from '../../../src/lib/decimal';
import { UsageService } from '../../../src/services/usage/usage.service';
import type {
  UsageDimension,
  UsageFigures,
  UsageFilter,
  UsageInterval,
  UsageQuery,
} from '../../../src/services/usage/usage.types';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { wallClock } from '../../support/wall-clock';
import { Chance, FiguresHistory } from './figures-history';
import { entriesAsOf, FIELDS, figuresOf, matches, type Entry } from './plain-figures';
import type { CallRecord } from '../../../src/domain/call';

const DAY_MS = 86_400_000;
const DIMENSIONS: UsageDimension[][] = [
  [],
  [],
  ['MODEL'],
  ['MODEL', 'PROVIDER'],
  ['STATUS', 'SCENARIO', 'UPSTREAM'],
  ['PROJECT'],
  ['PROJECT', 'MODEL'],
  ['USER'],
  ['MODEL', 'USER'],
  ['AGENT'],
  ['USER', 'STATUS'],
  ['PROVIDER', 'PROJECT', 'AGENT'],
];
const ZONES = [
  'UTC',
  'UTC',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'America/New_York',
  'Europe/Berlin',
  'Australia/Lord_Howe',
];

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.close());

type Asked = UsageQuery & { filter: UsageFilter };
class Questions {
  readonly asked = new Map<string, number>();
  constructor(
    private readonly history: FiguresHistory,
    private readonly chance: Chance,
  ) {}

  filter(): UsageFilter {
    const { one, below } = this.chance;
    const { users, projects, conversations } = this.history;
    return one<() => UsageFilter>([
      () => ({}),
      () => ({}),
      () => ({}),
      () => ({ models: ['gpt'] }),
      () => ({ models: ['gpt', 'house'], providers: ['openai', ''] }),
      () => ({ statuses: ['FAILED', 'LOST'] }),
      () => ({ userIds: [one(users).id] }),
      () => ({ projectIds: [one(projects), ''] }),
      () => ({ agents: ['writer'] }),
      () => ({ conversationId: one(conversations) }),
      () => ({ scenarios: ['THINK'], models: ['claude'] }),
      () => ({ userIds: [one(users).id], statuses: ['COMPLETED'] }),
      () => ({ models: [] }),
      () => ({ userIds: users.slice(below(3)).map((user) => user.id), projectIds: [projects[0]!] }),
    ])();
  }

  /** A span of days or hours, at midnight, on a quarter of an hour or anywhere. */
  query(): Asked {
    const { one, below } = this.chance;
    const { now } = this.history;
    const anywhere = (): number => now - below(below(3) === 0 ? 115 * DAY_MS : 20 * DAY_MS);
    const end = (): number =>
      one([Math.floor(anywhere() / DAY_MS) * DAY_MS, Math.floor(anywhere() / 900_000) * 900_000, anywhere()]);
    const [first, to] = [end(), one([end(), end(), now + 1, now + 5 * DAY_MS])].sort((a, b) => a - b) as [
      number,
      number,
    ];
    let from = first === to ? first - DAY_MS : first;
    const interval = one<UsageInterval | null>([null, null, 'DAY', 'WEEK', 'MONTH', 'HOUR']);
    if (interval === 'HOUR') from = Math.max(from, to - (1 + below(20)) * DAY_MS);
    const groupBy = interval === 'HOUR' ? one([[], ['MODEL'], ['USER']] as UsageDimension[][]) : one(DIMENSIONS);
    const pricesAsOf =
      below(5) < 2
        ? new Date(
            Math.min(now, one([now, now - below(2 * 3_600_000), now - below(40 * DAY_MS), from + below(to - from)])),
          )
        : null;
    return {
      filter: { ...this.filter(), from: new Date(from), to: new Date(to) },
      groupBy,
      interval,
      timeZone: one(ZONES),
      orderBy: 'CALLS_DESC',
      limit: 1_000,
      pricesAsOf,
    };
  }
}

/** Every group and interval of an answer against the same computed row by row, and no group or interval missing. */
async function check(
  usage: UsageService,
  history: FiguresHistory,
  question: Asked,
  seen: Map<string, Entry[]>,
  chance: Chance,
): Promise<void> {
  const who = chance.one([
    { user: 0, role: 'ANALYST' },
    { user: 0, role: 'ANALYST' },
    { user: 1, role: 'MEMBER' },
    { user: 4, role: 'ADMIN' },
    { user: 2, role: 'OPERATOR' },
  ] as const);
  const viewer = history.viewer(who.user, who.role);
  const asked: Asked =
    who.role === 'OPERATOR'
      ? { ...question, groupBy: chance.below(3) === 0 ? [...question.groupBy, 'ORGANIZATION'] : question.groupBy }
      : question;
  const scope: UsageFilter =
    who.role === 'OPERATOR'
      ? chance.below(2) === 0
        ? { organizationIds: history.organizations.slice(0, 1) }
        : {}
      : {};
  const report = await usage.report(viewer, { ...asked, filter: { ...asked.filter, ...scope } });

  const key = String(asked.pricesAsOf?.getTime());
  if (!seen.has(key)) seen.set(key, await entriesAsOf(database.db, asked.pricesAsOf ?? null));
  const visible = (entry: Entry): boolean =>
    who.role === 'OPERATOR' ||
    (entry.organization_id === viewer.organizationId && (who.role !== 'MEMBER' || entry.user_id === viewer.userId));
  const entries = seen.get(key)!.filter((entry) => visible(entry) && matches(entry, { ...asked.filter, ...scope }));
  expect(report.totals).toEqual(figuresOf(entries));

  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const group = JSON.stringify(asked.groupBy.map((dimension) => entry[FIELDS[dimension][0]]));
    groups.set(group, [...(groups.get(group) ?? []), entry]);
  }
  if (asked.groupBy.length === 0) groups.set('[]', entries);
  const wall = asked.interval && wallClock(asked.timeZone, asked.interval);
  const intervals = new Set<string>();
  if (wall)
    for (
      let at = report.from.getTime();
      at < report.to.getTime();
      at = Math.min(at + 900_000 - (at % 900_000), report.to.getTime())
    )
      intervals.add(wall(new Date(at)));
  const expected = new Map<string, UsageFigures>();
  for (const [group, of] of groups) {
    if (asked.groupBy.length > 0 && figuresOf(of).calls === 0) continue;
    if (!wall) expected.set(group, figuresOf(of));
    else
      for (const interval of intervals)
        expected.set(`${group} ${interval}`, figuresOf(of.filter((entry) => wall(entry.occurred_at) === interval)));
  }
  const answered = new Map(
    report.rows.map((row) => {
      const group = JSON.stringify(
        asked.groupBy.map((dimension) => (row as unknown as Record<string, unknown>)[FIELDS[dimension][1]]),
      );
      return [wall ? `${group} ${wall(row.at!)}` : group, row.figures];
    }),
  );
  expect(answered.size).toBe(report.rows.length);
  expect(Object.fromEntries(answered)).toEqual(Object.fromEntries(expected));
}

/** The single calls, page by page, add up to the figures; each is there once, newest first. */
async function checkCalls(usage: UsageService, history: FiguresHistory, filter: UsageFilter): Promise<void> {
  const viewer = history.viewer(0, 'ANALYST');
  const asked = { ...filter, from: new Date(0) };
  const { totals } = await usage.report(viewer, {
    filter: asked,
    groupBy: [],
    interval: null,
    timeZone: 'UTC',
    orderBy: 'COST_DESC',
    limit: 1,
  });
  const calls: CallRecord[] = [];
  for (let after: string | null = null; ;) {
    const page: Awaited<ReturnType<UsageService['calls']>> = await usage.calls(viewer, asked, { first: 70, after });
    calls.push(...page.edges.map((edge) => edge.node));
    if (!page.hasNextPage) break;
    after = page.edges.at(-1)!.cursor;
  }
  expect([calls.length, new Set(calls.map((call) => call.id)).size]).toEqual([totals.calls, totals.calls]);
  expect(calls.map((call) => call.occurredAt.getTime())).toEqual(
    calls.map((call) => call.occurredAt.getTime()).sort((a, b) => b - a),
  );
  const priced = calls.flatMap((call) => call.cost ?? []);
  const sum = (of: (cost: NonNullable<CallRecord['cost']>) => string): string =>
    priced.reduce((total, cost) => total.plus(Decimal.parse(of(cost))), Decimal.ZERO).toString();
  expect(calls.length > 0 && priced.length === 0 ? null : sum((cost) => cost.total)).toBe(totals.cost);
  for (const call of calls.slice(0, 5)) expect(await usage.call(viewer, call.id)).toEqual(call);
}

// More of them, for whoever has an hour: WEIR_SEEDS=1,2,3,4,5.
const SEEDS = (process.env.WEIR_SEEDS ?? '1').split(',').map(Number);
it.each(
  SEEDS.flatMap(
    (seed) =>
      [
        [seed, true],
        [seed, false],
      ] as [number, boolean][],
  ),
)('every report equals the rows, summed up one by one (seed %i, folding %s)', async (seed, folds) => {
  const chance = new Chance(seed * 7_919 + (folds ? 1 : 0));
  const history = new FiguresHistory(database.db, chance, { folds });
  const usage = new UsageService({ db: database.db });
  const questions = new Questions(history, chance);
  for (let step = 1; step <= 90; step += 1) {
    await history.step();
    if (step < 20 || step % 10 !== 0) continue;
    const seen = new Map<string, Entry[]>();
    for (let nr = 0; nr < 20; nr += 1) {
      const question = questions.query();
      try {
        await check(usage, history, question, seen, chance);
      } catch (error) {
        throw new Error(`step ${step}, question ${nr}: ${JSON.stringify(question)}\n${(error as Error).message}`, {
          cause: error,
        });
      }
    }
    await checkCalls(usage, history, questions.filter());
    // The figures of today and of conversations: the same knowledge.
    const entries = seen.get('undefined') ?? seen.get('null') ?? (await entriesAsOf(database.db, null));
    const member = history.viewer(1, 'MEMBER');
    expect(await usage.today(member)).toEqual(
      figuresOf(
        entries.filter(
          (entry) =>
            entry.user_id === member.userId && entry.occurred_at.getTime() >= Math.floor(history.now / DAY_MS) * DAY_MS,
        ),
      ),
    );
    const theirs = entries.filter((entry) => entry.organization_id === member.organizationId);
    expect(await usage.ofConversations(member, history.conversations)).toEqual(
      history.conversations.map((id) => figuresOf(theirs.filter((entry) => entry.conversation_id === id))),
    );
  }
  const { done } = history;
  expect([
    done.settled > 300,
    done.corrected > 10,
    done.priced > 2,
    done.folded > 3 === folds,
    done.priceFolded > 2 === folds,
  ]).toEqual([true, true, true, true, true]);
  await setClock(database.db, null);
});
