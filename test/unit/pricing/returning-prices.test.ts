import { missingPrices, ReturningPrices } from '../../../src/services/pricing/observed-prices';
import type { ObservedPrice, PriceRecord } from '../../../src/services/pricing/pricing.types';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** An upstream that is asked every minute, and a book that records what is due. */
class Play {
  readonly book: PriceRecord[] = [];
  private readonly returning = new ReturningPrices();
  atMs = 1_000 * HOUR;

  tell(...prices: [deployment: string | null, price: string | null][]): void {
    const observed = prices.map(([deployment, price]): ObservedPrice => ({
      model: 'm',
      deployment,
      rates: price === null ? null : { input: price, output: price },
      knownAs: [],
    }));
    const missing = missingPrices(this.book, observed, 'PROXY', this.atMs, null);
    for (const { deployment, rates } of this.returning.due(missing, this.book, observed, 'PROXY', this.atMs)) {
      this.book.push({
        number: this.book.length + 1,
        model: 'm',
        deployment,
        organizationId: null,
        source: 'PROXY',
        effectiveFrom: new Date(this.atMs),
        effectiveTo: null,
        recordedAt: new Date(this.atMs),
        serviceTier: null,
        rates,
      });
    }
  }

  /** Tells it every minute for so long, the first time now. */
  keep(minutes: number, price: string): void {
    for (let i = 0; i <= minutes; i += 1) {
      this.tell([null, price]);
      if (i < minutes) this.atMs += MINUTE;
    }
  }

  get prices(): string[] {
    return this.book.map((record) => `${record.deployment ?? 'alias'}=${record.rates.input}`);
  }
}

describe('a price that comes back', () => {
  it('is recorded at once where it is new, or was in the book longer ago than a day', () => {
    const play = new Play();
    for (const price of ['1', '2', '3']) play.tell([null, price]);
    play.atMs += 24 * HOUR;
    play.tell([null, '1']);
    expect(play.prices).toEqual(['alias=1', 'alias=2', 'alias=3', 'alias=1']);
  });

  it('is recorded when it has stayed for ten minutes, and twice as long for each change more', () => {
    const play = new Play();
    play.tell([null, '1']);
    play.atMs += 48 * HOUR;
    play.tell([null, '2']);
    play.atMs += MINUTE;
    play.keep(9, '1');
    expect(play.prices).toEqual(['alias=1', 'alias=2']);
    play.keep(1, '1');
    expect(play.prices).toEqual(['alias=1', 'alias=2', 'alias=1']);
    play.keep(19, '2');
    expect(play.prices).toHaveLength(3);
    play.keep(2, '2');
    expect(play.prices).toEqual(['alias=1', 'alias=2', 'alias=1', 'alias=2']);
  });

  it('begins to wait again whenever something else was told meanwhile', () => {
    const play = new Play();
    play.tell([null, '1']);
    play.tell([null, '2']);
    for (let round = 0; round < 20; round += 1) {
      play.keep(8, '1');
      play.atMs += MINUTE;
      play.tell([null, '2']);
      play.atMs += MINUTE;
    }
    expect(play.prices).toEqual(['alias=1', 'alias=2']);
  });

  it.each([1, 7, 30, 200])(
    'adds no book without end: an upstream that changes its mind every %d minutes makes a few records a day',
    (minutes) => {
      const play = new Play();
      const until = play.atMs + 10 * 24 * HOUR;
      for (let i = 0; play.atMs < until; i += 1) {
        play.keep(minutes - 1, i % 2 ? '1' : '2');
        play.atMs += MINUTE;
      }
      expect(play.book.length).toBeLessThan(10 * 9);
    },
  );

  it('is also one that deployments agree on again, or differ in again', () => {
    const play = new Play();
    for (let i = 0; i < 30; i += 1) {
      play.tell(['d1', '1'], ['d2', i % 2 ? '2' : '1']);
      play.atMs += MINUTE;
    }
    expect(play.prices).toEqual(['alias=1', 'd1=1', 'd2=2']);
  });
});
