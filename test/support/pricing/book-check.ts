import type { Db } from '../../../src/database/pool';
import { canonicalDecimal, Decimal } from '../../../src/lib/decimal';
import { priceCall } from '../../../src/services/pricing/price-call';
import { pickRecord } from '../../../src/services/pricing/price-lookup';
import type { PriceRecord, PriceSource, Rates } from '../../../src/services/pricing/pricing.types';
import { pricedCall } from '../../../src/database/priced-call';
import type { BookPlay } from './book-play';
import type { TokenBuckets } from '../../../src/domain/money';

interface Row {
  id: string;
  kind: string;
  sign: number;
  call_id: string;
  correction: number;
  organization_id: string;
  occurred_at: Date;
  day: string;
  model: string;
  served_model: string;
  deployment: string | null;
  service_tier: string | null;
  usage_source: string;
  book_number: string;
  cost: string | null;
  late: boolean;
  settled_at: Date;
  uncached_prompt_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  cache_write_one_hour_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
}
interface Entry {
  id: string;
  book: string;
  cost: string;
  priced_calls: string;
}

/**
 * What a row costs by every book, worked out again from its tokens and the records themselves: never by an older book
 * than the one that it was booked by. Faults are texts.
 */
export class BookCheck {
  readonly faults: string[] = [];
  private byModel = new Map<string, PriceRecord[]>();
  private rows: Row[] = [];
  private byCall = new Map<string, Row[]>();
  private readonly known = new Map<string, string | null>();
  numbers: number[] = [];

  constructor(
    private readonly db: Db,
    private readonly play: BookPlay,
  ) {}

  async run(): Promise<void> {
    await this.read();
    await this.checkRows();
    await this.checkParts();
    await this.checkCells();
    await this.checkCubes();
    this.checkAnswers();
  }

  get size(): { rows: number; books: number; repriced: number } {
    return { rows: this.rows.length, books: this.numbers.length, repriced: this.entries };
  }
  private entries = 0;

  private async read(): Promise<void> {
    const records = await this.db.query<{
      number: string;
      model: string;
      deployment: string | null;
      organization_id: string | null;
      source: PriceSource;
      effective_from: Date;
      effective_to: Date | null;
      recorded_at: Date;
      service_tier: string | null;
      rates: Rates;
    }>('SELECT * FROM model_prices ORDER BY number');
    for (const row of records) {
      const record: PriceRecord = {
        number: Number(row.number),
        model: row.model,
        deployment: row.deployment,
        organizationId: row.organization_id,
        source: row.source,
        effectiveFrom: row.effective_from,
        effectiveTo: row.effective_to,
        recordedAt: row.recorded_at,
        serviceTier: row.service_tier,
        rates: row.rates,
      };
      this.byModel.set(row.model, [...(this.byModel.get(row.model) ?? []), record]);
    }
    this.numbers = [0, ...records.map((row) => Number(row.number))];
    this.rows = await this.db.query<Row>(
      `SELECT *, coalesce(corrects_id, id) AS call_id, (occurred_at AT TIME ZONE 'UTC')::date::text AS day, NOT (kind = 'CALL' AND settled_at - occurred_at < interval '1 hour') AS late FROM llm_usage ORDER BY organization_id, occurred_at, id`,
    );
    for (const row of this.rows) this.byCall.set(row.call_id, [...(this.byCall.get(row.call_id) ?? []), row]);
  }

  private record(row: Row, model: string, deployment: string | null, book: number): PriceRecord | null {
    const records = (this.byModel.get(model) ?? []).filter((record) => record.number <= book);
    return pickRecord(
      records,
      { deployment, organizationId: row.organization_id, serviceTier: row.service_tier },
      row.occurred_at.getTime(),
    );
  }

  /** null: no price. */
  private expected(row: Row, number: number): string | null {
    const book = Math.max(number, Number(row.book_number));
    const key = `${row.id} ${book}`;
    if (!this.known.has(key)) this.known.set(key, this.work(row, book));
    return this.known.get(key)!;
  }

  private work(row: Row, book: number): string | null {
    const record = this.record(row, row.served_model, row.deployment, book);
    if (record) return signed(row, priced(row, record.rates));
    // Without a price of its own: what it was booked at, which a call on a budget takes from the model that was asked
    // for.
    if (row.kind === 'REVERSAL') {
      const stood = this.byCall
        .get(row.call_id)!
        .find((other) => other.kind !== 'REVERSAL' && other.correction === row.correction - 1)!;
      const cost = this.expected(stood, Number(row.book_number));
      return cost === null ? null : signed(row, cost);
    }
    const asked = this.play.told.get(row.call_id)?.held
      ? this.record(row, row.model, null, Number(row.book_number))
      : null;
    return asked ? priced(row, asked.rates) : null;
  }

  /** Booked and adjusting entries of each row, for every book. */
  private async checkRows(): Promise<void> {
    const entries = await this.db.query<Entry>(
      'SELECT id, book, cost, priced_calls FROM weir.price_entries ORDER BY book',
    );
    this.entries = entries.length;
    const byRow = new Map<string, Entry[]>();
    for (const entry of entries) byRow.set(entry.id, [...(byRow.get(entry.id) ?? []), entry]);
    for (const row of this.rows) {
      let cost = Decimal.parse(row.cost ?? '0');
      let isPriced = row.cost !== null;
      const left = byRow.get(row.id) ?? [];
      for (const number of this.numbers) {
        while (left.length > 0 && Number(left[0]!.book) <= number) {
          const entry = left.shift()!;
          cost = cost.plus(Decimal.parse(entry.cost));
          if (Number(entry.priced_calls) !== 0) isPriced = true;
        }
        const expected = this.expected(row, number);
        const found = isPriced ? cost.toString() : null;
        if (found !== expected)
          this.faults.push(
            `row ${row.id} (${row.kind}, booked by ${row.book_number}) by book ${number}: ${found} instead of ${expected}`,
          );
      }
    }
  }

  /** The same by the function that reads a single call. */
  private async checkParts(): Promise<void> {
    const found = await this.db.query<{ id: string; number: string; cost: string | null; sum: string | null }>(
      `SELECT u.id, r.number, (c).cost, (c).cost_input + (c).cost_cache_read + (c).cost_cache_write + (c).cost_output + (c).cost_reasoning + (c).cost_request AS sum
       FROM llm_usage AS u CROSS JOIN (SELECT number, recorded_at FROM model_prices WHERE number % 4 = 0) AS r CROSS JOIN LATERAL weir.cost_as_of(${pricedCall('u')}, r.recorded_at) AS c`,
    );
    const rows = new Map(this.rows.map((row) => [row.id, row]));
    for (const { id, number, cost, sum } of found) {
      const expected = this.expected(rows.get(id)!, Number(number));
      if ((cost === null ? null : canonicalDecimal(cost)) !== expected)
        this.faults.push(`single row ${id} as of book ${number}: ${cost} instead of ${expected}`);
      if ((sum === null ? null : canonicalDecimal(sum)) !== expected)
        this.faults.push(`parts of row ${id} as of book ${number}: ${sum} instead of ${expected}`);
    }
  }

  /** Cubes and what is not in them yet, as of every book: by organisation, model and day. */
  private async checkCells(): Promise<void> {
    const cells = await this.db.query<{ number: string; key: string; cost: string }>(
      `WITH entries AS MATERIALIZED (
         SELECT organization_id, model, day, entry_at, cost FROM usage_daily
         UNION ALL SELECT organization_id, model, day, entry_at, cost FROM weir.row_entries WHERE batch_id IN (SELECT id FROM usage_batches)
         UNION ALL SELECT organization_id, model, day, entry_at, cost FROM weir.price_entries WHERE occurred_at >= folded_before)
       SELECT r.number, concat_ws(' ', e.organization_id, e.model, e.day) AS key, sum(e.cost) AS cost FROM entries AS e JOIN model_prices AS r ON e.entry_at <= r.recorded_at GROUP BY r.number, 2`,
    );
    const found = new Map(cells.map((cell) => [`${cell.number} ${cell.key}`, canonicalDecimal(cell.cost)]));
    const recordedAt = new Map(
      [...this.byModel.values()].flat().map((record) => [record.number, record.recordedAt.getTime()]),
    );
    for (const number of this.numbers.slice(1)) {
      const sums = new Map<string, Decimal>();
      for (const row of this.rows) {
        if (row.late && row.settled_at.getTime() > recordedAt.get(number)!) continue;
        const key = `${row.organization_id} ${row.model} ${row.day}`;
        sums.set(key, (sums.get(key) ?? Decimal.ZERO).plus(Decimal.parse(this.expected(row, number) ?? '0')));
      }
      for (const [key, sum] of sums) {
        const cell = found.get(`${number} ${key}`);
        if (cell !== sum.toString())
          this.faults.push(`cell ${key} as of book ${number}: ${cell} instead of ${sum.toString()}`);
      }
    }
  }

  /** Every cube and every measure: what is folded and what is not are all entries, no more and no less. */
  private async checkCubes(): Promise<void> {
    const measures =
      'calls, failed_calls, prompt_tokens, cache_read_tokens, cache_write_tokens, completion_tokens, reasoning_tokens, cost, priced_calls, unpriced_calls, latency_count, latency_ms, latency_histogram, first_token_count, first_token_ms, first_token_histogram'.split(
        ', ',
      );
    const cubes: [string, string, string][] = [
      ['usage_daily', 'organization_id, day, model, provider, upstream, scenario, status, entry_at', 'day'],
      ['usage_daily_by_project', 'organization_id, day, project_id, model, entry_at', 'day'],
      ['usage_daily_by_user', 'organization_id, day, user_id, model, entry_at', 'day'],
      ['usage_daily_overall', 'day, model, provider, entry_at', 'day'],
      ['usage_quarter_hourly', 'organization_id, at, model, entry_at', 'quarter AS at'],
    ];
    for (const [cube, keys, time] of cubes) {
      const from = keys
        .split(', ')
        .map((key) => (key === 'at' ? time : key))
        .join(', ');
      const sums = measures.map((name) => `sum(${name}) AS ${name}`).join(', ');
      const all = (source: string): string => `SELECT ${keys}, ${sums} FROM (${source}) AS e GROUP BY ${keys}`;
      const raw = (rows: string, changes: string): string =>
        `SELECT ${from}, ${measures.join(', ')} FROM weir.row_entries ${rows} UNION ALL SELECT ${from}, ${measures.join(', ')} FROM weir.price_entries ${changes}`;
      const whole = all(raw('', ''));
      const folded = all(
        `SELECT ${keys}, ${measures.join(', ')} FROM ${cube} UNION ALL ${raw('WHERE batch_id IN (SELECT id FROM usage_batches)', 'WHERE occurred_at >= folded_before')}`,
      );
      // A price change that makes no difference in a cell leaves a row of zeros, or none.
      const counts = `(calls <> 0 OR cost <> 0 OR priced_calls <> 0 OR prompt_tokens <> 0 OR latency_ms <> 0)`;
      const [row] = await this.db.query<{ differ: string }>(
        `WITH whole AS (${whole}), folded AS (${folded}) SELECT count(*) AS differ FROM ((SELECT * FROM whole EXCEPT SELECT * FROM folded) UNION ALL (SELECT * FROM folded EXCEPT SELECT * FROM whole)) AS d WHERE ${counts}`,
      );
      if (row!.differ !== '0') this.faults.push(`${cube}: ${row!.differ} cells differ from the entries`);
    }
  }

  /** What each change said of itself. */
  private checkAnswers(): void {
    for (const { result, dry } of this.play.changes) {
      const { number, model } = result.price;
      const sums = new Map<string, { calls: number; priced: number; before: Decimal; after: Decimal }>();
      for (const row of this.rows) {
        if (row.served_model !== model || Number(row.book_number) >= number) continue;
        const [before, after] = [this.expected(row, number - 1), this.expected(row, number)];
        if (before === after) continue;
        const sum = sums.get(row.organization_id) ?? { calls: 0, priced: 0, before: Decimal.ZERO, after: Decimal.ZERO };
        sums.set(row.organization_id, {
          calls: sum.calls + row.sign,
          priced: sum.priced + (before === null ? 0 : row.sign),
          before: sum.before.plus(Decimal.parse(before ?? '0')),
          after: sum.after.plus(Decimal.parse(after!)),
        });
      }
      const expected = [...sums]
        .filter(([, sum]) => sum.calls !== 0 || sum.before.compare(sum.after) !== 0)
        .map(
          ([id, sum]) =>
            `${id} ${sum.calls} ${sum.calls > 0 && sum.priced === 0 ? null : sum.before.toString()} ${sum.after.toString()}`,
        )
        .sort();
      for (const said of dry ? [result, dry] : [result]) {
        const told = said.byOrganization
          .map((one) => `${one.organizationId} ${one.affectedCalls} ${one.costBefore} ${one.costAfter}`)
          .sort();
        if (JSON.stringify(told) !== JSON.stringify(expected))
          this.faults.push(
            `change ${number} (${said.dryRun ? 'dry run' : 'real'}) said ${JSON.stringify(told)} instead of ${JSON.stringify(expected)}`,
          );
        if (said.affectedCalls !== [...sums.values()].reduce((calls, sum) => calls + sum.calls, 0))
          this.faults.push(`change ${number} said ${said.affectedCalls} calls in all`);
      }
    }
  }
}

const signed = (row: Row, cost: string): string =>
  row.sign === -1 ? Decimal.ZERO.minus(Decimal.parse(cost)).toString() : cost;

function priced(row: Row, rates: Rates): string {
  if (row.usage_source === 'NONE') return '0';
  const tokens: TokenBuckets = {
    uncachedPrompt: Math.abs(row.uncached_prompt_tokens),
    cacheRead: Math.abs(row.cache_read_tokens),
    cacheWrite: Math.abs(row.cache_write_tokens),
    cacheWriteOneHour: Math.abs(row.cache_write_one_hour_tokens),
    output: Math.abs(row.output_tokens),
    reasoning: Math.abs(row.reasoning_tokens),
  };
  return priceCall(tokens, rates).total;
}
