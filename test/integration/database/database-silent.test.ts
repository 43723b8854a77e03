import { HOT_CONNECTIONS, openDatabase, type Db } from '../../../src/database/pool';
import { toAppError } from '../../../src/server/graphql/format-error';
import { AuthService } from '../../../src/services/auth/auth.service';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { TcpFront } from '../../support/tcp-front';
import { eventually, within } from '../../support/wait';

/**
 * Milliseconds: a second later we give up ourselves, and on a connection after five seconds. The rest is for a busy
 * machine.
 */
const STATEMENT_MS = 1_000;
const GIVEN_UP_MS = STATEMENT_MS + 1_000 + 2_000;
const CONNECT_GIVEN_UP_MS = 5_000 + 3_000;
const POOL = 2;

let database: TestDatabase;
let front: TcpFront;
let db: Db;
let world: World;
beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db);
});
afterAll(() => database.close());
beforeEach(async () => {
  front = await TcpFront.start(database.url);
  db = await openDatabase({ url: front.url, poolSize: POOL, statementTimeoutMs: STATEMENT_MS }, () => {});
});
afterEach(async () => {
  await db.close();
  await front.stop();
});

const one = { query: () => db.query('SELECT 1 AS one'), hot: () => db.hot('weir_test_one', 'SELECT 1 AS one', []) };
/** Connects all of both pools. */
const warm = (): Promise<unknown> =>
  Promise.all(Array.from({ length: 2 * HOT_CONNECTIONS }, () => [one.query(), one.hot()]).flat());
const failure = async (work: Promise<unknown>, ms = GIVEN_UP_MS): Promise<unknown> => {
  const error = await within(
    work.then(
      () => 'an answer',
      (cause: unknown) => cause,
    ),
    ms,
    'the failure',
  );
  return toAppError(error) ?? error;
};
const unavailable = { code: 'SERVICE_UNAVAILABLE' };

describe('a Postgres that does not answer', () => {
  it.each(['query', 'hot'] as const)(
    'fails a statement in time (%s), and the connection is not used again',
    async (way) => {
      await warm();
      front.freeze();
      const failures = await Promise.all(
        Array.from({ length: way === 'hot' ? HOT_CONNECTIONS : POOL }, () => failure(one[way]())),
      );
      expect(failures).toEqual(failures.map(() => expect.objectContaining(unavailable)));
      for (let round = 0; round < 6; round += 1)
        await expect(eventually(one[way](), 'an answer')).resolves.toEqual([{ one: 1 }]);
    },
  );

  it('fails a transaction once, not a second time for its end, and the connection is not used again', async () => {
    await warm();
    const caught: unknown[] = [];
    const work = (): Promise<unknown> =>
      db.transaction(async (tx) => {
        await tx.query('SELECT 1');
        front.freeze();
        // Whatever the work makes of it.
        await tx.query('SELECT 2').catch((error: unknown) => caught.push(error));
        await tx.query('SELECT 3');
      });
    expect(await failure(work())).toMatchObject(unavailable);
    expect(caught).toHaveLength(1);
    for (let round = 0; round < 3; round += 1) await failure(one.query());
    await expect(
      eventually(
        db.transaction((tx) => tx.query('SELECT 1 AS one')),
        'an answer',
      ),
    ).resolves.toEqual([{ one: 1 }]);
  });

  it('fails what waits for a connection', async () => {
    await warm();
    front.newConnectionsToo = true;
    front.freeze();
    const failures = await Promise.all(
      Array.from({ length: 12 }, () => [
        failure(one.query(), CONNECT_GIVEN_UP_MS),
        failure(one.hot(), CONNECT_GIVEN_UP_MS),
      ]).flat(),
    );
    expect(failures).toEqual(failures.map(() => expect.objectContaining(unavailable)));
    front.newConnectionsToo = false;
    await expect(one.query()).resolves.toEqual([{ one: 1 }]);
  });

  it('does not keep the search for ended credentials: the next one finds what was revoked', async () => {
    const auth = new AuthService({
      db,
      logger: memoryLogger(),
      config: { jwksUrl: null } as never,
      plans: {} as never,
    });
    const viewer = await auth.authenticate(`Bearer ${world.member.token}`);
    front.freeze();
    expect(await failure(auth.ended([viewer]))).toMatchObject(unavailable);
    await database.db.query('UPDATE api_tokens SET revoked_at = weir.now() WHERE id = $1', [world.member.tokenId]);
    expect(await auth.ended([viewer])).toEqual(new Set([viewer]));
    await auth.stop();
  });
});

it('fails a transaction that reads, and ends no process, when its connection is lost', async () => {
  const work = db.readTransaction('BEGIN READ ONLY', async (tx) => {
    await tx.query('SELECT 1');
    front.away = true;
    await tx.query('SELECT 1');
  });
  expect(await failure(work)).toMatchObject(unavailable);
  front.away = false;
  await expect(one.query()).resolves.toEqual([{ one: 1 }]);
});
