import type { Db } from '../../../src/database/pool';
import { newId } from '../../../src/lib/ids';
import { PriceBook } from '../../../src/services/pricing/price-book';
import { PriceService } from '../../../src/services/pricing/price.service';
import type { Viewer } from '../../../src/domain/principal';
import { setClock } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { correctUsage, insertUsage, usageRow, type UsageRow } from './usage-rows';

const DAY_MS = 86_400_000;
const MODELS = ['gpt', 'claude', 'house'];

/** Numbers that look like chance and are always the same. */
export class Chance {
  constructor(private state: number) {}
  /** A whole number from 0. */
  below = (end: number): number => (this.state = (this.state * 48271) % 2147483647) % end;
  one = <T>(values: readonly T[]): T => values[this.below(values.length)]!;
}

/**
 * Weeks in the life of a ledger, step by step on its own clock: calls are settled, soon or long after they were made,
 * and corrected; prices are set for the past; batches and price changes are folded now and then, or not.
 */
export class FiguresHistory {
  readonly organizations = [newId('organization'), newId('organization')];
  readonly users = Array.from({ length: 5 }, (_, index) => ({
    id: newId('user'),
    organizationId: this.organizations[index < 3 ? 0 : 1]!,
  }));
  readonly conversations = [newId('conversation'), newId('conversation')];
  readonly projects = ['prj_a', 'prj_b'];
  readonly done = { settled: 0, corrected: 0, priced: 0, folded: 0, priceFolded: 0 };
  now = Date.parse('2026-02-18T09:00:00Z');
  private calls: UsageRow[] = [];
  private readonly prices: PriceService;
  private readonly operator: Viewer;

  constructor(
    private readonly db: Db,
    private readonly chance: Chance,
    private readonly options: { folds: boolean },
  ) {
    const logger = memoryLogger();
    this.prices = new PriceService({
      db,
      book: new PriceBook({ db, logger }),
      people: { visibleOrganization: async (_viewer, id) => ({ id, name: 'Any' }) },
      logger,
    });
    this.operator = this.viewer(0, 'OPERATOR');
  }

  viewer(user: number, role: Viewer['role']): Viewer {
    return {
      userId: this.users[user]!.id,
      organizationId: this.users[user]!.organizationId,
      role,
      planId: 'pln',
      tokenId: null,
      sessionId: null,
      expiresAtMs: null,
    };
  }

  /** Something happens, a minute to half a day later. */
  async step(): Promise<void> {
    this.now += (1 + this.chance.below(700)) * 60_000 + this.chance.below(60_000);
    await setClock(this.db, new Date(this.now).toISOString());
    const what = this.chance.below(20);
    if (what < 8 || this.calls.length === 0) return this.settle();
    if (what < 11) return this.correct();
    if (what < 13) return this.setPrice();
    if (!this.options.folds) return this.settle();
    return what < 17 ? this.fold() : this.foldPrices();
  }

  async settle(): Promise<void> {
    const { below, one } = this.chance;
    const [{ book } = { book: '0' }] = await this.db.query<{ book: string }>(
      'SELECT coalesce(max(number), 0) AS book FROM model_prices',
    );
    const rows = Array.from({ length: 1 + below(30) }, () => {
      const user = one(this.users);
      const made = this.now - (below(4) > 0 ? below(50 * 60_000) : below(110 * DAY_MS));
      return {
        ...usageRow({
          organization_id: user.organizationId,
          user_id: user.id,
          occurred_at: new Date(made).toISOString().replace('Z', `${one(['000', '001', '999'])}Z`),
          ...this.facts(),
        }),
        project_id: one([null, ...this.projects]),
        conversation_id: one([null, null, ...this.conversations]),
        agent: one([null, 'writer', 'coder']),
        scenario: one(['DEFAULT', 'THINK']),
        upstream: one(['LITELLM', 'DIRECT']),
        service_tier: one([null, null, 'flex']),
        deployment: one([null, 'd1']),
        settled_at: new Date(this.now).toISOString(),
        book_number: Number(book),
      };
    });
    await insertUsage(this.db, rows);
    this.calls.push(...rows);
    this.done.settled += rows.length;
  }

  /** What a settlement or a correction finds. */
  private facts(): Partial<UsageRow> {
    const { below, one } = this.chance;
    const silent = below(8) === 0;
    const cost = silent
      ? '0'
      : below(4) > 0
        ? `${below(3)}.${String(below(1_000_000_000)).padStart(9, '0')}${below(1_000)}`
        : null;
    const model = one(MODELS);
    return {
      model,
      served_model: one([model, model, one(MODELS)]),
      provider: one(['openai', 'anthropic', null]),
      status: one(['COMPLETED', 'COMPLETED', 'STOPPED', 'FAILED', 'LOST']),
      usage_source: silent ? 'NONE' : 'PROVIDER',
      uncached_prompt_tokens: silent ? 0 : 1 + below(3_000),
      cache_read_tokens: silent ? 0 : below(1_000),
      cache_write_tokens: silent ? 0 : below(500),
      output_tokens: silent ? 0 : below(2_000),
      reasoning_tokens: silent ? 0 : below(300),
      cost,
      cost_input: cost,
      cost_output: cost && '0',
      latency_ms: below(8) === 0 ? null : below(2 ** (4 + below(16))),
      time_to_first_token_ms: one([null, below(3_000)]),
    };
  }

  private async correct(): Promise<void> {
    for (let count = 1 + this.chance.below(4); count > 0; count -= 1) {
      const index = this.chance.below(this.calls.length);
      // Never the same twice: there would be nothing to correct.
      // And priced by the book of today, whichever that is.
      const facts = {
        ...this.facts(),
        output_tokens: 10_000 + (this.done.corrected += 1),
        usage_source: 'RECONCILED',
        book_number: undefined,
      };
      this.calls[index] = await correctUsage(this.db, this.calls[index]!, facts);
    }
  }

  private async setPrice(): Promise<void> {
    const { below, one } = this.chance;
    const rate = (): string => `${below(20)}.${below(1_000)}`;
    const from = Math.floor((this.now - below(60 * DAY_MS)) / 60_000) * 60_000;
    await this.prices.setModelPrice(
      this.operator,
      {
        model: one(MODELS),
        effectiveFrom: new Date(from),
        effectiveTo: below(3) === 0 ? new Date(from + (1 + below(20 * 24)) * 3_600_000) : null,
        organizationId: one([null, null, ...this.organizations]),
        serviceTier: one([null, null, null, 'flex']),
        inputPerMillion: rate(),
        outputPerMillion: rate(),
        cacheReadPerMillion: one([null, rate()]),
        perRequest: one([null, '0.001']),
        tiers:
          below(3) === 0 ? [{ abovePromptTokens: 1_500, inputPerMillion: rate(), outputPerMillion: rate() }] : null,
      },
      false,
    );
    this.done.priced += 1;
  }

  private async fold(): Promise<void> {
    const [row] = await this.db.query<{ batches: number }>('SELECT batches FROM weir.fold($1)', [
      1 + this.chance.below(200),
    ]);
    this.done.folded += row!.batches;
  }

  private async foldPrices(): Promise<void> {
    const open = await this.db.query<{ book: string; from: string; to: string }>(
      `SELECT book, greatest(folded_before, starts_at)::text AS from, least(ends_at, weir.now())::text AS to FROM price_changes WHERE folded_before < ends_at ORDER BY book`,
    );
    if (open.length === 0) return;
    const { book, from, to } = this.chance.one(open);
    await this.db.query('SELECT weir.fold_price_change($1, $2)', [
      book,
      this.chance.one([
        'infinity',
        new Date(Date.parse(from) + this.chance.below(Math.max(1, Date.parse(to) - Date.parse(from)))).toISOString(),
      ]),
    ]);
    this.done.priceFolded += 1;
  }
}
