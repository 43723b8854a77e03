import type { Lane } from './lane';
import type { Random } from './random';

/**
 * Period edges, most of them a millisecond before, and where they are: days, weeks, months, years, and clocks that are
 * put forward and back.
 */
const EDGES: readonly (readonly [at: string, zone: string])[] = [
  ['2026-11-21T23:59:59.999Z', 'UTC'],
  ['2026-11-22T23:59:59.999Z', 'UTC'],
  ['2026-11-30T23:59:59.999Z', 'UTC'],
  ['2026-12-31T22:59:59.999Z', 'Europe/Berlin'],
  ['2027-03-14T04:59:59.999Z', 'America/New_York'],
  ['2027-03-28T21:59:59.999Z', 'Europe/Berlin'],
  // Midnight of the first of November comes twice.
  ['2026-11-01T03:59:59.999Z', 'America/Havana'],
  ['2026-11-01T04:30:00.000Z', 'America/Havana'],
  ['2026-11-01T04:59:59.999Z', 'America/Havana'],
  // A quarter of an hour off everybody.
  ['2026-11-25T18:14:59.999Z', 'Asia/Kathmandu'],
];
const ZONES = ['UTC', 'America/New_York', 'Europe/Berlin', 'America/Havana', 'Asia/Kathmandu', 'Pacific/Apia'];
const STEPS_MS = [0, 1, 1, 1_000, 3_600_000, 86_400_000, 7 * 86_400_000, 31 * 86_400_000];
const PERIODS = ['DAY', 'WEEK', 'MONTH'] as const;

/**
 * An organisation with its projects, people, tokens and budgets, made anew for each schedule. Ids come from the seed.
 */
export class World {
  readonly organizationId: string;
  readonly users: { id: string; tokens: string[]; conversationId: string; head: string | null }[];
  readonly projects: string[];
  private readonly plans: string[];
  private readonly edgeZone: string;
  private atMs: number;
  private made = 0;
  /**
   * A clock that goes back is for schedules in which no budget is filled in: what it would have to count lies in the
   * future.
   */
  private readonly goesBack: boolean;

  constructor(
    private readonly lane: Lane,
    private readonly random: Random,
    readonly seed: number,
  ) {
    this.organizationId = this.id('org');
    this.projects = [this.id('prj'), this.id('prj')];
    this.plans = [this.id('pln'), this.id('pln')];
    this.users = Array.from({ length: random.int(2, 3) }, () => ({
      id: this.id('usr'),
      tokens: [this.id('tok'), this.id('tok')],
      conversationId: this.id('conv'),
      head: null,
    }));
    const [at, zone] = random.pick(EDGES);
    this.atMs = Date.parse(at);
    this.edgeZone = zone;
    this.goesBack = random.chance(0.2);
  }

  id(prefix: string): string {
    return `${prefix}_${this.seed}_${String((this.made += 1)).padStart(4, '0')}`;
  }

  async make(): Promise<void> {
    const { db } = this.lane;
    await this.lane.setClock(new Date(this.atMs).toISOString());
    await db.transaction(async (tx) => {
      await tx.query('INSERT INTO organizations (id, name) VALUES ($1, $1)', [this.organizationId]);
      for (const [plan, budget] of [
        [this.plans[0], this.random.chance(0.3) ? this.limit() : null],
        [this.plans[1], null],
      ]) {
        await tx.query(`SELECT weir.put_plan($1, $1, '{}', NULL, NULL, NULL, NULL, NULL, $2)`, [plan, budget]);
      }
      await tx.query(`SELECT weir.put_user($2, id, 'Ada', NULL, NULL, 'MEMBER', $3) FROM unnest($1::text[]) AS id`, [
        this.users.map(({ id }) => id),
        this.organizationId,
        this.plans[0],
      ]);
      await tx.query(
        'INSERT INTO conversations (id, organization_id, user_id) SELECT t.id, $3, t.user_id FROM unnest($1::text[], $2::text[]) AS t(id, user_id)',
        [this.users.map(({ conversationId }) => conversationId), this.users.map(({ id }) => id), this.organizationId],
      );
      for (let count = this.random.int(0, 5); count > 0; count -= 1) await this.insertBudget(tx, this.planBudget());
      await tx.query('SELECT proof.edited($1, NULL)', [this.organizationId]);
    });
  }

  planClock(): () => Promise<void> {
    const byMs =
      this.goesBack && this.random.chance(0.4)
        ? -this.random.pick([1, 3_600_000, 86_400_000])
        : this.random.pick(STEPS_MS);
    return () => {
      this.atMs += byMs;
      return this.lane.setClock(new Date(this.atMs).toISOString());
    };
  }

  /**
   * One edit, as setBudget, removeBudget and upsertPlan make them: under the organisation's lock. Decides what while it
   * is planned, and so by the seed alone.
   */
  planEdit(): () => Promise<void> {
    const kind = this.goesBack
      ? 'limit'
      : this.random.pick(['limit', 'limit', 'limit', 'create', 'create', 'period', 'remove', 'plan', 'user'] as const);
    const nth = this.random.int(0, 99);
    const planned = this.planBudget();
    const [limit, period, zone] = [
      this.random.chance(0.1) ? null : this.limit(),
      this.random.pick(PERIODS),
      this.zone(),
    ];
    return () =>
      this.lane.db.transaction(async (tx) => {
        await tx.query(`SELECT proof.begin(), set_config('proof.editing', 'yes', true)`);
        // A plan is everybody's. Its lock is asked for first: behind the organisation's it would wait for those who
        // wait for that.
        await (kind === 'plan'
          ? tx.query('SELECT pg_advisory_xact_lock(2, 0)')
          : tx.query('SELECT weir.lock_budgets($1)', [this.organizationId]));
        const before = await tx.query<{ id: string; plan_id: string | null }>(
          'SELECT id, plan_id FROM budgets WHERE organization_id = $1 ORDER BY id',
          [this.organizationId],
        );
        const own = before.filter(({ plan_id }) => plan_id === null).map(({ id }) => id);
        const id = own[nth % own.length];
        const refill: string[] = [];
        if (kind === 'create') {
          await this.insertBudget(tx, planned);
          await tx.query('SELECT weir.fill_budgets($1, $2)', [this.organizationId, [planned[0]]]);
        } else if (kind === 'plan')
          await tx.query(`SELECT weir.put_plan($1, $1, '{}', NULL, NULL, NULL, NULL, NULL, $2)`, [
            this.plans[nth % 2],
            limit,
          ]);
        else if (kind === 'user')
          await tx.query(`SELECT weir.change_user($1, $2, 'MEMBER', $3, false)`, [
            this.organizationId,
            this.users[nth % this.users.length]!.id,
            this.plans[nth % 2],
          ]);
        else if (id && kind === 'remove') await tx.query('DELETE FROM budgets WHERE id = $1', [id]);
        else if (id && kind === 'limit') {
          await tx.query('UPDATE budgets SET limit_amount = $2 WHERE id = $1', [id, limit ?? '0']);
          await tx.query('SELECT weir.check_alerts($1, $2)', [this.organizationId, [id]]);
        } else if (id && kind === 'period') {
          await tx.query('UPDATE budgets SET period = $2, time_zone = $3 WHERE id = $1', [id, period, zone]);
          await tx.query('SELECT weir.fill_budgets($1, $2)', [this.organizationId, [id]]);
          refill.push(id);
        }
        const after = await tx.query<{ id: string }>('SELECT id FROM budgets WHERE organization_id = $1', [
          this.organizationId,
        ]);
        const isOld = new Set(before.map((row) => row.id));
        await tx.query('SELECT proof.edited($1, $2)', [
          this.organizationId,
          [...refill, ...after.map((row) => row.id).filter((one) => !isOld.has(one))],
        ]);
      });
  }

  private limit(): string {
    return `${this.random.int(100, 3_000)}${this.random.amount(1).replace(/^\d+/, '')}`;
  }

  private zone(): string {
    return this.random.chance(0.5) ? this.edgeZone : this.random.pick(ZONES);
  }

  private planBudget(): [id: string, ...unknown[]] {
    const { random } = this;
    const user = random.pick(this.users);
    const [scope, subject] = random.pick([
      ['ORGANIZATION', this.organizationId],
      ['PROJECT', random.pick(this.projects)],
      ['USER', user.id],
      ['API_TOKEN', random.pick(user.tokens)],
    ] as const);
    return [
      this.id('bud'),
      this.organizationId,
      scope,
      subject,
      random.pick(PERIODS),
      this.limit(),
      this.zone(),
      random.pick([[80, 90], [50], [10, 100]]),
    ];
  }

  private async insertBudget(tx: Pick<Lane['db'], 'query'>, row: readonly unknown[]): Promise<void> {
    await tx.query(
      'INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount, time_zone, alert_at_percent) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
      row,
    );
  }
}
