import { openDatabase, type Db } from '../../../src/database/pool';
import { Liveness } from '../../../src/services/recovery/liveness';
import { OwnersStore } from '../../../src/services/recovery/owners.store';
import { setClock, type TestDatabase } from '../../support/database';
import { memoryLogger } from '../../support/log';
import { TcpFront } from '../../support/tcp-front';
import { eventually, waitFor } from '../../support/wait';
import { RecoveryScene } from './recovery-scene';

let scene: RecoveryScene;
let database: TestDatabase;
/** Seconds on the monotonic clock of every process here. */
let clock: number;
beforeEach(async () => {
  scene = await RecoveryScene.create();
  database = scene.database;
  clock = 0;
});
afterEach(() => database.close());

interface Process {
  liveness: Liveness;
  store: OwnersStore;
  logger: ReturnType<typeof memoryLogger>;
  deaths: string[];
}

const process = (owner: string, db: Db = database.db): Process => {
  const store = new OwnersStore(db);
  const logger = memoryLogger();
  const liveness = new Liveness({ store, owner, logger, now: () => clock * 1_000 });
  const deaths: string[] = [];
  liveness.onDeath((ids) => deaths.push(...ids));
  return { liveness, store, logger, deaths };
};
const dead = async (): Promise<string[]> =>
  (await database.db.query<{ id: string }>('SELECT id FROM owners WHERE dead_at IS NOT NULL ORDER BY id')).map(
    ({ id }) => id,
  );
/** Everybody who is named looks every five seconds, until a time. */
const live = async (until: number, ...processes: Process[]): Promise<void> => {
  for (; clock < until; clock += 5) for (const { liveness } of processes) await liveness.look();
};

describe('an owner that does not renew', () => {
  it('is dead after thirty seconds of unbroken contact, and not before', async () => {
    const [a, b] = [process('a'), process('b')];
    await live(10, b, a);
    // b was last seen to renew at 5.
    await live(35, a);
    expect(await dead()).toEqual([]);
    await a.liveness.look();
    expect([await dead(), a.deaths, a.liveness.deadOwners()]).toEqual([['b'], ['b'], ['b']]);
  });

  it('that was only slow lives again with its next renewal, is told, and is not declared dead for what it missed', async () => {
    const [a, b] = [process('a'), process('b')];
    await b.liveness.look();
    await live(40, a);
    expect(await dead()).toEqual(['b']);
    await b.liveness.look();
    expect(await dead()).toEqual([]);
    expect(b.logger.lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        message: expect.stringContaining('other processes had declared this one dead'),
      }),
    ]);
    await live(70, a);
    expect(await dead()).toEqual([]);
  });

  it('is not declared dead by somebody who has not seen its last renewal', async () => {
    const [a, b] = [process('a'), process('b')];
    await live(5, b, a);
    await live(30, a);
    // The renewal comes between a's look at the list and its declaration.
    const declare = a.store.declareDead.bind(a.store);
    a.store.declareDead = async (...args) => {
      await b.liveness.look();
      return declare(...args);
    };
    await a.liveness.look();
    expect([await dead(), a.deaths]).toEqual([[], []]);
  });

  it('and has no row at all, while calls of it are in flight, has the same time as others', async () => {
    await scene.admit({ owner: 'of-another-version' });
    const a = process('a');
    await live(30, a);
    expect(await dead()).toEqual([]);
    await a.liveness.look();
    expect(await dead()).toEqual(['of-another-version']);
  });
});

describe('an outage', () => {
  let fronts: TcpFront[];
  let dbs: Db[];
  beforeEach(async () => {
    fronts = await Promise.all([TcpFront.start(database.url), TcpFront.start(database.url)]);
    dbs = await Promise.all(
      fronts.map(({ url }) => openDatabase({ url, poolSize: 2, statementTimeoutMs: 200 }, () => {})),
    );
  });
  afterEach(async () => {
    await Promise.all(dbs.map((db) => db.close()));
    await Promise.all(fronts.map((front) => front.stop()));
  });

  it('lets the first one back declare nobody dead: the others get the same time to come back', async () => {
    const [a, b] = dbs.map((db, i) => process('ab'[i]!, db)) as [Process, Process];
    const stream = await scene.admit({ owner: 'b' });
    const { recovery } = scene.recovery({ owner: 'a', direct: true });
    await live(10, b, a);
    for (const front of fronts) front.freeze();
    await Promise.all([a.liveness.look(), b.liveness.look()]);
    expect([a, b].map(({ logger }) => logger.lines.length)).toEqual([1, 1]);

    // It lasted ten minutes. Only a is back, and b's streams are running.
    clock = 610;
    await live(640, a);
    await recovery.look();
    expect([await dead(), await scene.isInFlight(stream.id)]).toEqual([[], true]);
    // In time.
    await b.liveness.look();
    await live(665, a);
    expect(await dead()).toEqual([]);
    // And b has nothing against a, which it has not seen for ten minutes.
    await b.liveness.look();
    expect([await dead(), b.deaths]).toEqual([[], []]);
    // A remedy that never declared anybody would be none.
    await live(705, a);
    await recovery.look();
    expect([await dead(), await scene.isInFlight(stream.id)]).toEqual([['b'], false]);
  });

  it('that nobody noticed, because no look fell into it, counts as well: the look was late', async () => {
    const [a, b] = dbs.map((db, i) => process('ab'[i]!, db)) as [Process, Process];
    await live(10, b, a);
    // As a process that was stopped for a minute, or whose statement took as long.
    clock = 70;
    await a.liveness.look();
    expect(await dead()).toEqual([]);
  });

  it('that comes and goes lets nobody be declared dead: every look that fails begins the time anew', async () => {
    const [a, b] = dbs.map((db, i) => process('ab'[i]!, db)) as [Process, Process];
    await live(10, b, a);
    const renew = a.store.renew.bind(a.store);
    for (; clock < 100; clock += 5) {
      a.store.renew = clock % 10 === 0 ? () => Promise.reject(new Error('the database is away')) : renew;
      await a.liveness.look();
    }
    expect(await dead()).toEqual([]);
  });
});

it.each(['2026-11-20T12:00:00Z', '2026-11-22T12:00:00Z'])(
  "a jump of the database's clock by a day kills nobody (%s)",
  async (jump) => {
    const [a, b] = [process('a'), process('b')];
    await setClock(database.db, '2026-11-21T12:00:00Z');
    await live(10, a, b);
    await setClock(database.db, jump);
    await live(60, a, b);
    expect(await dead()).toEqual([]);
    // A jump keeps nobody alive either.
    await live(95, a);
    expect(await dead()).toEqual(['b']);
  },
);

describe('rows', () => {
  const ids = async (): Promise<string[]> =>
    (await database.db.query<{ id: string }>('SELECT id FROM owners ORDER BY id')).map(({ id }) => id);

  it('go with a clean end, and stay while calls are in flight', async () => {
    const [clean, busy] = [process('clean'), process('busy')];
    await Promise.all([clean.liveness.start(), busy.liveness.start()]);
    await scene.admit({ owner: 'busy' });
    await Promise.all([clean.liveness.stop(), busy.liveness.stop()]);
    expect(await ids()).toEqual(['busy']);
  });

  it('of the dead go an hour later, unless calls are still in flight', async () => {
    await setClock(database.db, '2026-11-21T12:00:00Z');
    const [a, b] = [process('a'), process('b')];
    await live(5, a, b);
    await live(50, a);
    expect(await dead()).toEqual(['b']);
    await setClock(database.db, '2026-11-21T12:59:00Z');
    await live(60, a);
    expect(await ids()).toEqual(['a', 'b']);
    await setClock(database.db, '2026-11-21T13:01:00Z');
    await a.liveness.look();
    expect(await ids()).toEqual(['a']);
  });

  it('are renewed by themselves, from the start on', async () => {
    const liveness = new Liveness({
      store: new OwnersStore(database.db),
      owner: 'a',
      logger: memoryLogger(),
      renewMs: 5,
    });
    await liveness.start();
    expect(await ids()).toEqual(['a']);
    await waitFor(
      async () =>
        Number((await database.db.query<{ renewals: string }>('SELECT renewals FROM owners'))[0]!.renewals) > 3,
    );
    await eventually(liveness.stop(), 'the end');
    expect(await ids()).toEqual([]);
  });
});
