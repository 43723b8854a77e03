import type { Db } from '../../../src/database/pool';
import { canonicalDecimal } from '../../../src/lib/decimal';
import { newId } from '../../../src/lib/ids';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { PriceService } from '../../../src/services/pricing/price.service';
import type { ModelPriceEdit } from '../../../src/services/pricing/pricing.types';
import { callEnd } from '../../support/call-ends';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type TestUser, type World } from '../../support/factories';
import { Random } from '../../support/ledger/random';
import { memoryLogger } from '../../support/log';
import type { Settlement } from '../../../src/domain/call';

export interface Tenant extends World {
  name: string;
  users: TestUser[];
  projects: { id: string; name: string }[];
}

export interface ScenePrice extends Pick<
  ModelPriceEdit,
  'model' | 'organizationId' | 'note' | 'cacheReadPerMillion' | 'reasoningPerMillion' | 'perRequest'
> {
  effectiveFrom: string;
  effectiveTo?: string;
  input: string;
  output: string;
}

const MODELS = ['direct/small', 'direct/large', 'direct/new'];
const SCENARIOS = ['DEFAULT', 'THINK', 'REVIEW', 'PLAN'] as const;

/** Organisations with calls, corrections, prices and cubes at whatever state, all made by the product's own stores. */
export class Scene {
  readonly calls: LedgerStore;
  readonly prices: PriceService;
  readonly settled: Settlement[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly tenants: Tenant[],
    readonly random: Random,
  ) {
    const book = new PriceBook({ db: database.db, logger: memoryLogger() });
    this.calls = new LedgerStore(database.db, book);
    this.prices = new PriceService({
      db: database.db,
      book,
      people: { visibleOrganization: async (_viewer: unknown, id: string) => ({ id }) as never },
      logger: memoryLogger(),
    });
  }

  static async create(names: string[], seed: number): Promise<Scene> {
    const database = await createTestDatabase();
    const tenants: Tenant[] = [];
    for (const name of names) {
      const world = await createWorld(database.db, { name });
      const users = [
        await createUser(database.db, { ...world, name: `${name} user 1`, email: `one@${name}.example` }),
        await createUser(database.db, { ...world, name: `${name} user 2`, email: `two@${name}.example` }),
      ];
      const projects = [1, 2].map((n) => ({ id: newId('project'), name: `${name} project ${n}` }));
      for (const project of projects)
        await database.db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
          project.id,
          world.organizationId,
          project.name,
        ]);
      tenants.push({ ...world, name, users, projects });
    }
    return new Scene(database, tenants, new Random(seed));
  }

  get db(): Db {
    return this.database.db;
  }

  clock(time: string): Promise<void> {
    return setClock(this.db, time);
  }

  /** By an operator, in dollars per million tokens. Gives the record's number. */
  async price({ input, output, effectiveFrom, effectiveTo, ...rest }: ScenePrice): Promise<number> {
    const edit = {
      ...rest,
      inputPerMillion: input,
      outputPerMillion: output,
      effectiveFrom: new Date(effectiveFrom),
      effectiveTo: effectiveTo ? new Date(effectiveTo) : null,
    };
    return (await this.prices.setModelPrice(this.tenants[0]!.operator.viewer, edit, false)).price.number;
  }

  /** Some calls that were made at a time and are settled by the clock of now. */
  async settle(tenant: Tenant, at: string, count: number, fields: Partial<Settlement> = {}): Promise<Settlement[]> {
    const { random } = this;
    const ends = Array.from({ length: count }, (): Settlement => {
      const status = random.chance(0.1) ? 'FAILED' : random.chance(0.1) ? 'LOST' : 'COMPLETED';
      const used = status !== 'FAILED';
      const model = random.pick(MODELS);
      const streamed = random.chance(0.5);
      return callEnd({
        occurredAt: new Date(Date.parse(at) + random.int(0, 59_999)).toISOString(),
        organizationId: tenant.organizationId,
        userId: random.pick(tenant.users).id,
        projectId: random.chance(0.3) ? null : random.pick(tenant.projects).id,
        agent: random.chance(0.5) ? 'coder' : null,
        scenario: random.pick(SCENARIOS),
        model,
        servedModel: random.chance(0.1) ? 'direct/small' : model,
        provider: random.pick(['openai', 'anthropic', null]),
        status,
        streamed,
        errorCode: status === 'FAILED' ? 'UPSTREAM_FAILED' : null,
        usageSource: used ? 'PROVIDER' : 'NONE',
        tokens: used
          ? {
              uncachedPrompt: random.int(1, 5_000),
              cacheRead: random.int(0, 500),
              cacheWrite: random.int(0, 90),
              cacheWriteOneHour: 0,
              output: random.int(1, 900),
              reasoning: random.int(0, 300),
            }
          : { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 },
        proxyCost: random.chance(0.5) ? `0.${random.int(1000, 9999)}` : null,
        latencyMs: random.chance(0.9) ? random.int(3, 60_000) : null,
        timeToFirstTokenMs: streamed ? random.int(2, 2_000) : null,
        // Older than every price: it is priced by the book as it is.
        priceBook: 0,
        cost: null,
        priceNumber: null,
        ...fields,
      });
    });
    await this.calls.settle(ends);
    this.settled.push(...ends);
    return ends;
  }

  /** The proxy's record of a call came later, with other tokens. */
  async correct(end: Settlement): Promise<void> {
    const tokens = {
      ...end.tokens,
      uncachedPrompt: end.tokens.uncachedPrompt + this.random.int(1, 5_000),
      output: end.tokens.output + 7,
    };
    const truth: Settlement = { ...end, status: 'COMPLETED', usageSource: 'RECONCILED', tokens, priceBook: 0 };
    await this.calls.correct([truth], 'TEST');
    Object.assign(end, truth);
  }

  /** Some of what is not in the cubes: up to so many rows, or the price changes of calls before a time. */
  async fold(rows: number): Promise<void> {
    await this.db.query('SELECT weir.fold($1)', [rows]);
  }
  async foldPrices(upTo: string): Promise<void> {
    for (const { book } of await this.db.query<{ book: string }>('SELECT book FROM price_changes ORDER BY book'))
      await this.db.query('SELECT weir.fold_price_change($1, $2)', [book, upTo]);
  }
  /** To a state that nobody has chosen. */
  async foldAtRandom(from: string, to: string): Promise<void> {
    await this.fold(this.random.int(1, 11));
    if (this.random.chance(0.7))
      await this.foldPrices(
        new Date(Date.parse(from) + this.random.next() * (Date.parse(to) - Date.parse(from))).toISOString(),
      );
  }
}

/** One spelling for what two ways tell: numbers as their digits, times in RFC 3339. */
export function plain(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  // A histogram has too many digits for money.
  if (typeof value === 'string' && /^-?\d{1,60}(\.\d+)?$/.test(value)) return canonicalDecimal(value);
  if (typeof value === 'number') return String(value);
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}
