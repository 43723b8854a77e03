import { PriceChanges, type PriceChangesDeps } from '../../../src/services/pricing/price-changes';
import type { PriceRecord, RecordToAdd } from '../../../src/services/pricing/pricing.types';
import { memoryLogger } from '../../support/log';

const HOUR_MS = 3_600_000;
const MONTH = { fromMs: Date.parse('2026-10-01T00:00:00Z'), toMs: Date.parse('2026-11-01T00:00:00Z') };
const given: RecordToAdd = {
  model: 'm',
  deployment: null,
  organizationId: null,
  source: 'ADMIN',
  effectiveFrom: new Date(MONTH.fromMs),
  effectiveTo: null,
  serviceTier: null,
  rates: { input: '1', output: '1' },
  note: null,
};

/** A store and a book that say what was done, in order: a plan reads the records' times. */
class Stage {
  readonly done: string[] = [];
  readonly records: PriceRecord[] = [];
  /** Called with each reading of the book; a change of the book is `this.add`. */
  onReload: (inTransaction: boolean) => void = () => undefined;

  constructor() {
    this.add();
  }

  add(): void {
    const times = { get: (): Date => (this.done.at(-1) !== 'plan' && this.done.push('plan'), new Date(0)) };
    const record = { ...given, number: this.records.length + 1, source: 'PROXY' as const, recordedAt: new Date(0) };
    this.records.push(Object.defineProperty(record, 'effectiveFrom', times));
  }

  changes(impact: Partial<PriceChangesDeps['impact']> = {}): PriceChanges {
    const says = (what: string) => async (): Promise<void> => void this.done.push(what);
    const store = {
      transaction: async <T>(work: (tx: object) => Promise<T>) => {
        this.done.push('begin');
        const result = await work({});
        this.done.push('commit');
        return result;
      },
      lock: says('lock'),
      clockPassedLast: async () => undefined,
      droppedBeforeMs: async () => -Infinity,
      nowMs: async () => MONTH.toMs,
      change: says('change'),
      lockPrices: async () => (this.done.push('alone'), MONTH.toMs),
      append: async () => (this.done.push('append'), [{ number: 99, recordedAt: new Date(MONTH.toMs) }]),
    };
    const book = { recordsOf: () => this.records, reload: async (tx?: unknown) => this.onReload(tx !== undefined) };
    return new PriceChanges({
      book,
      store,
      impact: { months: async () => [], ...impact },
      logger: memoryLogger(),
    } as unknown as PriceChangesDeps);
  }
}

describe('the calls that a price is in force for', () => {
  it('are worked out before the book is locked', async () => {
    const stage = new Stage();
    await stage.changes().apply(given);
    expect(stage.done).toEqual(['plan', 'begin', 'lock', 'alone', 'append', 'change', 'commit']);
  });

  it('are worked out again where the book has changed meanwhile, outside, and in the end under the lock: a busy book keeps no price out', async () => {
    const stage = new Stage();
    stage.onReload = (inTransaction) => inTransaction && stage.add();
    await stage.changes().apply(given);
    expect(stage.done).toEqual([
      'plan',
      'begin',
      'lock',
      'commit',
      'plan',
      'begin',
      'lock',
      'commit',
      'plan',
      'begin',
      'lock',
      'plan',
      'alone',
      'append',
      'change',
      'commit',
    ]);
  });
});

describe('the sum of a change', () => {
  const sumsOf = async (
    longestMs: number,
  ): Promise<{ asked: [number, number][]; failed: number; calls: number | string }> => {
    const asked: [number, number][] = [];
    let failed = 0;
    const impact = {
      months: async () => [MONTH],
      preview: async (_record: unknown, _parts: unknown, time: { fromMs: number; toMs: number }) => {
        if (time.toMs - time.fromMs > longestMs) {
          failed += 1;
          throw Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' });
        }
        asked.push([time.fromMs, time.toMs]);
        return [
          { organizationId: 'o', calls: (time.toMs - time.fromMs) / HOUR_MS, pricedBefore: 0, before: '0', after: '1' },
        ];
      },
    };
    const result = await new Stage()
      .changes(impact)
      .dryRun(given)
      .catch((error: { code: string }) => error.code);
    return { asked, failed, calls: typeof result === 'string' ? result : result.affectedCalls };
  };

  it('is made in smaller steps where Postgres gives one up: each time once, whole, and what took too long is not asked again', async () => {
    const { asked, failed, calls } = await sumsOf(24 * HOUR_MS);
    expect([failed, calls]).toEqual([5, 31 * 24]);
    expect(asked[0]![0]).toBe(MONTH.fromMs);
    expect(asked.at(-1)![1]).toBe(MONTH.toMs);
    asked.slice(1).forEach(([from], i) => expect(from).toBe(asked[i]![1]));
  });

  it('that takes too long for an hour is an error that says so', async () => {
    expect(await sumsOf(HOUR_MS / 4)).toMatchObject({ calls: 'SERVICE_UNAVAILABLE', failed: 10 });
  });
});
