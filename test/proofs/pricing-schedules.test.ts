import type { Db } from '../../src/database/pool';
import { setClock } from '../support/database';
import { withMistake } from '../support/ledger/mutate';
import { Random } from '../support/ledger/random';
import { PriceScene } from '../support/price-scene';
import { BookCheck } from '../support/pricing/book-check';
import { BookPlay } from '../support/pricing/book-play';
import { standingSeed } from '../support/seed';

/** The long form for a change of prices: PRICES_PLAYS=20. */
const PLAYS = Number(process.env.PRICES_PLAYS ?? 2);
/** One that failed: PRICES_SEED=<its seed> PRICES_PLAYS=1. */
const SEED = standingSeed('PRICES_SEED');
const STEPS = 150;
jest.setTimeout(180_000 + PLAYS * 120_000);

interface Played {
  faults: string[];
  rows: number;
  books: number;
  repriced: number;
}

/** On a database of its own. What was wrong after the play, and when everything that was left had been folded. */
async function play(
  seed: number,
  steps: number,
  during: (db: Db, work: () => Promise<void>) => Promise<void> = (_db, work) => work(),
): Promise<Played> {
  const scene = await PriceScene.open();
  try {
    const random = new BookPlay(scene, new Random(seed), 'm');
    const faults: string[] = [];
    let size = { rows: 0, books: 0, repriced: 0 };
    const check = async (): Promise<void> => {
      const found = new BookCheck(scene.db, random);
      await found.run();
      faults.push(...found.faults);
      size = found.size;
    };
    await scene.db.query(`INSERT INTO organizations (id, name) VALUES ('org_m', 'Third')`);
    await during(scene.db, async () => {
      await random.run(steps);
      await check();
      await random.foldAll();
      await check();
    });
    return { faults, ...size };
  } finally {
    await setClock(scene.db, null);
    await scene.close();
  }
}

test(`${PLAYS} plays from seed ${SEED}: what was booked and all price changes are tokens × book, for every book number, row by row, cell by cell, however much of it is folded`, async () => {
  const seen = { rows: 0, books: 0, repriced: 0 };
  for (let seed = SEED; seed < SEED + PLAYS; seed += 1) {
    const { faults, ...size } = await play(seed, STEPS);
    expect({ seed, faults: faults.slice(0, 5), count: faults.length }).toEqual({ seed, faults: [], count: 0 });
    for (const key of ['rows', 'books', 'repriced'] as const) seen[key] += size[key];
  }
  expect(seen.rows).toBeGreaterThan(PLAYS * 150);
  expect(seen.books).toBeGreaterThan(PLAYS * 20);
  expect(seen.repriced).toBeGreaterThan(PLAYS * 100);
});

/** A view with a part of its text replaced. */
async function withView(
  db: Db,
  name: string,
  remedy: RegExp,
  mistake: string,
  work: () => Promise<void>,
): Promise<void> {
  const [row] = await db.query<{ text: string }>('SELECT pg_get_viewdef($1::regclass) AS text', [name]);
  if (!remedy.test(row!.text)) throw new Error(`${name} has no ${remedy}: the mistake has to learn its new form`);
  await db.query(`CREATE OR REPLACE VIEW ${name} AS ${row!.text.replace(remedy, mistake)}`);
  await work();
}

describe('the property is not true of a database that', () => {
  const mistakes: Record<string, (db: Db, work: () => Promise<void>) => Promise<void>> = {
    'takes calls that are settled for calls at the old price': (db, work) =>
      withMistake(db, 'weir.settle', [[/IF newest_book > oldest_book THEN/, 'IF false THEN']], work),
    'takes what was booked for what stood, also after an earlier change': (db, work) =>
      withView(db, 'weir.price_entries', /u\.book_number < p\.previous/, 'false', work),
    'adjusts calls that knew the record': (db, work) =>
      withView(db, 'weir.price_entries', /u\.book_number < c\.book/, 'true', work),
    'takes back what was booked, not what stands': (db, work) =>
      withMistake(db, 'weir.correct', [[/::weir\.priced_call,\s+NULL\)/, `::weir.priced_call, '-infinity')`]], work),
    'folds a slice of a change a second time': (db, work) =>
      withMistake(db, 'weir.fold_price_change', [[/greatest\(c\.folded_before, c\.starts_at\)/, 'c.starts_at']], work),
  };
  it.each(Object.keys(mistakes))('%s', async (name) => {
    const { faults } = await play(20_261_121, 100, mistakes[name]!);
    expect(faults).not.toEqual([]);
  });
});
