import { Decimal } from '../../../src/lib/decimal';
import { newId } from '../../../src/lib/ids';
import { priceUsage } from '../../../src/services/pricing/price-usage';
import type {
  ModelPriceEdit,
  ObservedPrice,
  PriceChangeResult,
  PriceTierEdit,
} from '../../../src/services/pricing/pricing.types';
import { callEnd } from '../call-ends';
import { setClock } from '../database';
import type { Random } from '../ledger/random';
import type { PriceScene, Replica } from '../price-scene';
import type { Settlement } from '../../../src/domain/call';
import type { TokenBuckets } from '../../../src/domain/money';

const DAY_MS = 86_400_000;
const START_MS = Date.parse('2026-11-20T00:00:00.000Z');
const DEPLOYMENTS = ['d1', 'd2'];
const TIERS = ['flex', 'priority'];
/** One that the shipped table knows. */
const KNOWN = 'gpt-4o-mini';

/** What was held on a budget was priced by the asked model where the serving one had no price. */
export interface Told {
  held: boolean;
}
export interface Change {
  result: PriceChangeResult;
  dry: PriceChangeResult | null;
}

/**
 * Random calls, usage corrections, prices and folds, on two replicas, in random order, with the clock stopped and moved
 * between them.
 */
export class BookPlay {
  readonly told = new Map<string, Told>();
  readonly changes: Change[] = [];
  private readonly ends: Settlement[] = [];
  private readonly models: string[];
  private readonly organizations: string[];
  private nowMs = START_MS;

  constructor(
    private readonly scene: PriceScene,
    private readonly random: Random,
    readonly name: string,
  ) {
    this.models = [`${name}-a`, `${name}-b`, KNOWN];
    this.organizations = [scene.ours.organizationId, scene.theirs.organizationId, `org_${name}`];
  }

  async run(steps: number): Promise<void> {
    await this.at(this.nowMs);
    for (let step = 0; step < steps; step += 1) {
      await this.at(this.nowMs + (this.random.chance(0.5) ? this.random.int(1, 3) : this.random.int(1, DAY_MS / 6)));
      const dice = this.random.next();
      if (dice < 0.4) await this.settle();
      else if (dice < 0.55) await this.correct();
      else if (dice < 0.75) await this.setPrice();
      else if (dice < 0.83) await this.replica().book.record(this.observed());
      else await this.fold();
    }
  }

  async foldAll(): Promise<void> {
    while ((await this.scene.db.query<{ batches: number }>('SELECT batches FROM weir.fold(50)'))[0]!.batches > 0);
    await this.scene.db.query(`SELECT weir.fold_price_change(book, 'infinity') FROM price_changes ORDER BY book`);
  }

  private at(ms: number): Promise<void> {
    this.nowMs = ms;
    return setClock(this.scene.db, new Date(ms).toISOString());
  }

  private replica(): Replica {
    return this.random.pick([this.scene.a, this.scene.b]);
  }

  /** Mostly now, else within five weeks; often exactly when some price begins. */
  private occurredAt(): string {
    const { random } = this;
    const begins = this.changes
      .flatMap(({ result: { price } }) => [price.effectiveFrom.getTime(), price.effectiveTo?.getTime() ?? 0])
      .filter((ms) => ms > 0 && ms <= this.nowMs);
    if (begins.length > 0 && random.chance(0.2))
      return `${new Date(random.pick(begins) - random.int(0, 1)).toISOString().slice(0, -1)}${random.pick(['', '999'])}Z`;
    return new Date(
      random.chance(0.4) ? this.nowMs - random.int(0, 5) : this.nowMs - random.int(0, 35 * DAY_MS),
    ).toISOString();
  }

  private tokens(): TokenBuckets {
    const { random } = this;
    const size = (): number => (random.chance(0.3) ? 0 : random.pick([1, 7, 99, 100, 101, 1_000, 123_457]));
    const cacheWrite = size();
    return {
      uncachedPrompt: size(),
      cacheRead: size(),
      cacheWrite,
      cacheWriteOneHour: random.chance(0.5) ? random.int(0, cacheWrite) : 0,
      output: size(),
      reasoning: size(),
    };
  }

  private used(): Partial<Settlement> {
    const { random } = this;
    const nothing = random.chance(0.1);
    return {
      servedModel: random.pick(this.models),
      deployment: random.pick([...DEPLOYMENTS, 'd9', null]),
      serviceTier: random.chance(0.4) ? random.pick([...TIERS, 'batch']) : null,
      tokens: nothing
        ? { uncachedPrompt: 0, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 0, reasoning: 0 }
        : this.tokens(),
      usageSource: nothing ? 'NONE' : 'PROVIDER',
      latencyMs: random.int(0, 100_000),
    };
  }

  private async settle(): Promise<void> {
    const { random } = this;
    const ends = Array.from({ length: random.int(1, 10) }, () => {
      const held = random.chance(0.3);
      const end = callEnd({
        organizationId: random.pick(this.organizations),
        userId: random.pick(['usr_1', 'usr_2']),
        projectId: random.pick([null, 'prj_1']),
        occurredAt: this.occurredAt(),
        model: random.pick(this.models),
        id: newId('call'),
        heldOn: held ? [{ budgetId: 'bud_gone', startsOn: '2026-11-01' }] : [],
        status: random.pick(['COMPLETED', 'FAILED']),
        ...this.used(),
      });
      this.told.set(end.id, { held });
      return end;
    });
    const by = this.replica();
    const priced = ends.map((end) => ({ ...end, ...priceUsage(end, by.book) }));
    const settled = await by.calls.settle(priced);
    if (settled.length !== ends.length) throw new Error('not every call was settled');
    this.ends.push(...ends);
  }

  private async correct(): Promise<void> {
    if (this.ends.length === 0) return;
    const end = { ...this.random.pick(this.ends), ...this.used() };
    const by = this.replica();
    await by.calls.correct([{ ...end, ...priceUsage(end, by.book) }], 'TEST');
  }

  private async setPrice(): Promise<void> {
    const by = this.replica();
    const input = this.price();
    const { viewer } = this.scene.ours.operator;
    const dry = this.random.chance(0.3) ? await by.prices.setModelPrice(viewer, input, true) : null;
    this.changes.push({ dry, result: await by.prices.setModelPrice(viewer, input, false) });
  }

  private price(): ModelPriceEdit {
    const { random } = this;
    const rate = (): string => Decimal.parse(`${random.int(0, 30)}.${random.int(0, 99_999)}1`).toString();
    const maybe = (): string | null => (random.chance(0.5) ? rate() : null);
    const tiers: PriceTierEdit[] = [100, 1_000]
      .filter(() => random.chance(0.3))
      .map((abovePromptTokens) => ({
        abovePromptTokens,
        inputPerMillion: rate(),
        outputPerMillion: rate(),
        cacheReadPerMillion: maybe(),
        cacheWritePerMillion: maybe(),
      }));
    const from =
      this.nowMs +
      (random.chance(0.15) ? random.int(1, 3 * DAY_MS) : random.chance(0.1) ? 0 : -random.int(0, 36 * DAY_MS));
    return {
      model: random.pick(this.models),
      effectiveFrom: new Date(from),
      effectiveTo: random.chance(0.5) ? new Date(from + random.int(1, 12 * DAY_MS)) : null,
      organizationId: random.chance(0.35) ? this.organizations[random.int(0, 1)]! : null,
      serviceTier: random.chance(0.3) ? random.pick(TIERS) : null,
      inputPerMillion: rate(),
      outputPerMillion: rate(),
      cacheReadPerMillion: maybe(),
      cacheWritePerMillion: maybe(),
      cacheWriteOneHourPerMillion: maybe(),
      reasoningPerMillion: maybe(),
      perRequest: random.chance(0.3) ? rate() : null,
      tiers,
    };
  }

  private observed(): ObservedPrice[] {
    const { random } = this;
    return this.models.flatMap((model): ObservedPrice[] => {
      const rates = (): ObservedPrice['rates'] =>
        random.chance(0.2)
          ? null
          : {
              input: `0.00000${random.int(1, 999)}`,
              output: '0.00001',
              ...(random.chance(0.3)
                ? { tiers: [{ abovePromptTokens: 100, input: '0.00009', output: '0.00008' }] }
                : {}),
            };
      const knownAs = model === KNOWN ? [KNOWN] : [];
      const one = rates();
      return random.chance(0.5)
        ? DEPLOYMENTS.map((deployment) => ({ model, deployment, rates: rates(), knownAs }))
        : DEPLOYMENTS.map((deployment) => ({ model, deployment, rates: one, knownAs }));
    });
  }

  private async fold(): Promise<void> {
    const { db } = this.scene;
    if (this.random.chance(0.5)) {
      await db.query('SELECT * FROM weir.fold($1)', [this.random.int(1, 30)]);
      return;
    }
    const changes = await db.query<{ book: string }>(
      `SELECT book FROM price_changes WHERE folded_before < 'infinity' ORDER BY book`,
    );
    if (changes.length === 0) return;
    const upTo = this.random.chance(0.3)
      ? 'infinity'
      : new Date(this.nowMs - this.random.int(0, 40 * DAY_MS)).toISOString();
    await db.query('SELECT weir.fold_price_change($1, $2)', [this.random.pick(changes).book, upTo]);
  }
}
