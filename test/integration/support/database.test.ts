import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';

describe('the test database', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.close());

  it('is migrated and belongs to this file alone', async () => {
    await database.db.query(`INSERT INTO organizations (id, name) VALUES ('org_1', 'A')`);
    const other = await createTestDatabase();
    expect(await other.db.query('SELECT id FROM organizations')).toEqual([]);
    await other.close();
    expect(await database.db.query('SELECT id FROM organizations')).toEqual([{ id: 'org_1' }]);
  });

  it('lets a test stop the clock of all SQL and start it again', async () => {
    await setClock(database.db, '2026-02-28T23:59:59.999Z');
    expect(await database.db.query('SELECT weir.now() AS now')).toEqual([
      { now: new Date('2026-02-28T23:59:59.999Z') },
    ]);
    await setClock(database.db, null);
    const [row] = await database.db.query<{ now: Date }>('SELECT weir.now() AS now');
    expect(Math.abs(row!.now.getTime() - Date.now())).toBeLessThan(60_000);
  });
});
