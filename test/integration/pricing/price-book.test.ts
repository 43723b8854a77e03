import { PriceBook } from '../../../src/services/pricing/price-book';
import { PriceService } from '../../../src/services/pricing/price.service';
import type { ObservedPrice } from '../../../src/services/pricing/pricing.types';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { appendPrice } from '../../support/prices';

let database: TestDatabase;
let world: World;
beforeAll(async () => {
  database = await createTestDatabase({ poolSize: 8 });
  world = await createWorld(database.db);
});
afterAll(() => database.close());
afterEach(() => setClock(database.db, null));

const openBook = async (): Promise<PriceBook> => {
  const book = new PriceBook({ db: database.db, logger: memoryLogger() });
  await book.start();
  return book;
};
const serviceOf = (book: PriceBook): PriceService =>
  new PriceService({
    db: database.db,
    book,
    people: { visibleOrganization: async () => null },
    logger: memoryLogger(),
  });
const price = (
  model: string,
  input: string | null,
  deployment: string | null = null,
  knownAs: string[] = [],
): ObservedPrice => ({ model, deployment, rates: input === null ? null : { input, output: input }, knownAs });
const recorded = (
  model: string,
): Promise<{ number: string; deployment: string | null; source: string; rates: object }[]> =>
  database.db.query('SELECT number, deployment, source, rates FROM model_prices WHERE model = $1 ORDER BY number', [
    model,
  ]);

describe('the price book', () => {
  it('has one record per change, however many replicas see it at once', async () => {
    const books = await Promise.all(Array.from({ length: 6 }, openBook));
    await Promise.all(
      books.map((book) => book.record([price('parallel', '0.000001'), price('parallel-2', '0.000002')])),
    );
    expect(await recorded('parallel')).toHaveLength(1);
    expect(await recorded('parallel-2')).toHaveLength(1);
    await Promise.all(books.map((book) => book.record([price('parallel', '1e-6'), price('parallel-2', '0.000003')])));
    expect(await recorded('parallel')).toHaveLength(1);
    expect((await recorded('parallel-2')).map((row) => row.rates)).toEqual([
      { input: '0.000002', output: '0.000002' },
      { input: '0.000003', output: '0.000003' },
    ]);
    for (const book of books) expect(book.current('parallel-2', 'org_x')?.rates.input).toBe('0.000003');
  });

  it('numbers its records without a gap', async () => {
    const books = await Promise.all([openBook(), openBook(), openBook()]);
    await Promise.all(books.map((book, index) => book.record([price(`numbered-${index}`, '1')])));
    const rows = await database.db.query<{ number: string }>('SELECT number FROM model_prices ORDER BY number');
    expect(rows.map((row) => Number(row.number))).toEqual(rows.map((_row, index) => index + 1));
  });

  it('a new record prices calls at once, also where the clock of the database is another', async () => {
    await setClock(database.db, '2031-05-05T00:00:00Z');
    const book = await openBook();
    await book.record([price('ahead', '5')]);
    expect(book.forCall('ahead', null, world.organizationId)?.rates.input).toBe('5');
  });

  it('a new record begins behind those before it where the clock was set back a little, once; where it was set back far, the new time counts', async () => {
    const at = (ms: number): Promise<void> =>
      setClock(database.db, new Date(Date.parse('2032-01-01T12:00:00Z') + ms).toISOString());
    const begins = async (): Promise<number[]> =>
      (
        await database.db.query<{ at: Date }>(
          `SELECT effective_from AS at FROM model_prices WHERE model = 'set-back' ORDER BY number`,
        )
      ).map((row) => row.at.getTime() - Date.parse('2032-01-01T12:00:00Z'));
    await at(0);
    const book = await openBook();
    await book.record([price('set-back', '1')]);
    await at(-10_000);
    for (const replica of [book, book, await openBook()]) await replica.record([price('set-back', '2')]);
    expect(await begins()).toEqual([0, 1]);
    await at(-3_600_000);
    await book.record([price('set-back', '3')]);
    expect(await begins()).toEqual([0, 1, -3_600_000]);
  });

  it('a second replica sees what the first recorded with its next refresh, and after a restart', async () => {
    const [first, second] = [await openBook(), await openBook()];
    await first.record([price('shared', '1')]);
    expect(second.current('shared', 'org_x')).toBeNull();
    await second.record([]);
    expect(second.current('shared', 'org_x')).toEqual(first.current('shared', 'org_x'));
    expect((await openBook()).current('shared', 'org_x')).toEqual(first.current('shared', 'org_x'));
  });

  it('prices a call by the record of the deployment that served it', async () => {
    const book = await openBook();
    await book.record([price('split', '1', 'd1'), price('split', '2', 'd2')]);
    expect(
      [book.forCall('split', 'd1', 'org_x'), book.forCall('split', 'd2', 'org_x')].map((record) => [
        record?.deployment,
        record?.rates.input,
      ]),
    ).toEqual([
      ['d1', '1'],
      ['d2', '2'],
    ]);
    expect(book.forCall('split', 'unknown', 'org_x')).toBeNull();
  });

  it('knows the most that a token can cost by a model or its fallbacks; none for a model without a price, however its fallbacks are priced', async () => {
    const book = await openBook();
    await book.record([price('held', '1', 'd1'), price('held', '3', 'd2'), price('held-dear', '5')]);
    const most = (models: string[], at?: Date): string | undefined =>
      book.worstRates(models, world.organizationId, 100, at)?.promptPerToken;
    expect(most(['held'])).toBe('3');
    expect(most(['held', 'held-dear'])).toBe('5');
    expect(most(['held', 'held-unpriced'])).toBe('3');
    expect(most(['held', 'held-unpriced', 'held-dear'])).toBe('5');
    expect(most(['held-unpriced', 'held-dear'])).toBeUndefined();
    expect(most(['held'], new Date(0))).toBeUndefined();
  });

  it('uses the shipped table only where the upstream gives no price, and says so', async () => {
    const book = await openBook();
    await book.record([
      price('gpt-4o-mini', null, null, ['gpt-4o-mini']),
      price('demo-small', null, null, ['demo-small']),
    ]);
    expect(book.current('gpt-4o-mini', 'org_x')).toMatchObject({ source: 'FALLBACK', rates: { input: '0.00000015' } });
    expect(book.current('demo-small', 'org_x')).toBeNull();
    await book.record([price('gpt-4o-mini', '0.5', 'd1', ['gpt-4o-mini'])]);
    expect(book.current('gpt-4o-mini', 'org_x')).toMatchObject({ source: 'PROXY', rates: { input: '0.5' } });
    expect((await recorded('gpt-4o-mini')).map((row) => row.source)).toEqual(['FALLBACK', 'PROXY']);
  });

  it('a write that fails leaves the book as it was', async () => {
    const book = await openBook();
    await expect(book.record([price('broken', 'not a number')])).rejects.toThrow(RangeError);
    expect(await recorded('broken')).toEqual([]);
    await book.record([price('broken', '1')]);
    expect(book.current('broken', 'org_x')?.rates.input).toBe('1');
  });
});

describe('prices', () => {
  it('shows the book at a time, with the end of each record', async () => {
    const book = await openBook();
    const service = serviceOf(book);
    for (const [time, rate] of [
      ['2030-01-01T00:00:00Z', '1'],
      ['2030-02-01T00:00:00Z', '2'],
    ] as const) {
      await setClock(database.db, time);
      await book.record([price('dated', rate)]);
    }
    const shown = async (at: string): Promise<unknown[]> =>
      (await service.prices(world.member.viewer, { model: 'dated', at: new Date(at) })).map((record) => [
        record.rates.input,
        record.effectiveFrom.toISOString(),
        record.effectiveTo?.toISOString() ?? null,
      ]);
    expect(await shown('2029-12-31T00:00:00Z')).toEqual([]);
    expect(await shown('2030-01-15T00:00:00Z')).toEqual([
      ['1', '2030-01-01T00:00:00.000Z', '2030-02-01T00:00:00.000Z'],
    ]);
    expect(await shown('2030-02-01T00:00:00Z')).toEqual([['2', '2030-02-01T00:00:00.000Z', null]]);
  });

  it("hides other organisations' own prices, from everybody but operators", async () => {
    const other = await createWorld(database.db, { name: 'Other' });
    const [{ number }] = (await database.db.query<{ number: number }>(
      'SELECT max(number)::int + 1 AS number FROM model_prices',
    )) as [{ number: number }];
    await appendPrice(database.db, {
      number,
      model: 'secret',
      organizationId: other.organizationId,
      rates: { input: '7', output: '7' },
    });
    const service = serviceOf(await openBook());
    const seen = async (viewer: typeof world.member.viewer): Promise<number> =>
      (await service.prices(viewer, { model: 'secret' })).length;
    expect([
      await seen(world.admin.viewer),
      await seen(other.member.viewer),
      await seen(world.operator.viewer),
    ]).toEqual([0, 1, 1]);
    expect([
      service.current('secret', world.organizationId),
      service.current('secret', other.organizationId)?.rates.input,
    ]).toEqual([null, '7']);
  });
});
