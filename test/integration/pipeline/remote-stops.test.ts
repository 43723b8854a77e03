import { RemoteStops } from '../../../src/services/pipeline/remote-stops';
import { memoryLogger } from '../../support/log';
import { eventually, waitFor } from '../../support/wait';
import { RecoveryScene } from '../recovery/recovery-scene';
import type { StopReason } from '../../../src/domain/call';

/** Longer than any test: what happens, happens because of a notification. */
const NEVER = 3_600_000;

describe('a stop of a call that another process runs', () => {
  let scene: RecoveryScene;
  const replicas: RemoteStops[] = [];
  beforeAll(async () => {
    scene = await RecoveryScene.create();
  });
  afterEach(async () => {
    await Promise.all(replicas.splice(0).map((replica) => replica.stopLooking()));
  });
  afterAll(() => scene.database.close());

  interface Replica {
    stops: RemoteStops;
    stopped: [string, StopReason][];
    calls: Set<string>;
    logger: ReturnType<typeof memoryLogger>;
  }
  /** A process whose calls end as soon as they are stopped. */
  async function replica(
    owner: string,
    { runs = [], ...options }: { lookEveryMs?: number; reconnectMs?: number; runs?: string[] } = {},
  ): Promise<Replica> {
    const calls = new Set(runs);
    const stopped: [string, StopReason][] = [];
    const logger = memoryLogger();
    const find = (callId: string) =>
      calls.has(callId)
        ? ({
            stop: (reason: StopReason) => {
              stopped.push([callId, reason]);
              calls.delete(callId);
              void scene.db.query('DELETE FROM calls_in_flight WHERE id = $1', [callId]);
              return true;
            },
          } as never)
        : null;
    const running = {
      find,
      get size() {
        return calls.size;
      },
    };
    const stops = new RemoteStops({
      databaseUrl: scene.database.url,
      store: scene.store,
      running,
      owner,
      logger,
      lookEveryMs: NEVER,
      ...options,
    });
    replicas.push(stops);
    await stops.start();
    return { stops, stopped, calls, logger };
  }
  const named = (id: string) => ({ organizationId: scene.world.organizationId, id });
  const callOf = async ({ calls }: Replica, owner: string): Promise<string> => {
    const { id } = await scene.admit({ owner });
    calls.add(id);
    return id;
  };

  it('reaches it by a notification, in far less than a second, and only the one that runs the call', async () => {
    const [a, b] = [await replica('a1'), await replica('b1')];
    const id = await callOf(a, 'a1');
    const other = await callOf(b, 'b1');
    const answer = b.stops.stop(named(id), 'CLIENT');
    await waitFor(() => a.stopped.length === 1, { deadlineMs: 1_000, what: 'the notification' });
    expect(a.stopped).toEqual([[id, 'CLIENT']]);
    expect(await answer).toBe(true);
    expect([b.stopped, [...b.calls]]).toEqual([[], [other]]);
  });

  it('of two who ask, the first one counts', async () => {
    const { id } = await scene.admit({ owner: 'a2' });
    await scene.store.requestStop(named(id), 'ADMINISTRATOR');
    const b = await replica('b2');
    const answers = Promise.all([b.stops.stop(named(id), 'CLIENT'), b.stops.stop(named(id), 'CLIENT')]);
    const asked = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%FROM calls_in_flight WHERE organization_id%'`;
    await waitFor(async () => (await scene.db.query(asked)).length > 0);
    // It hears of all of them at once.
    const a = await replica('a2', { runs: [id] });
    expect(await answers).toEqual([true, true]);
    expect(a.stopped).toEqual([[id, 'ADMINISTRATOR']]);
    expect(await b.stops.stop(named(id), 'CLIENT')).toBe(false);
  });

  it('that is asked for while the call is being admitted is found by looking', async () => {
    const a = await replica('a3', { lookEveryMs: 20 });
    const { id } = await scene.admit({ owner: 'a3' });
    const b = await replica('b3');
    const answer = b.stops.stop(named(id), 'CLIENT');
    await waitFor(async () => (await scene.store.requestedStops('a3')).length === 1);
    a.calls.add(id);
    expect(await eventually(answer, 'the stop')).toBe(true);
  });

  it('that nobody heard, because the connection was cut, is found when it listens again', async () => {
    const a = await replica('a4', { reconnectMs: 10 });
    const id = await callOf(a, 'a4');
    const listeners = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'weir-stops'`;
    expect(await scene.db.query(`SELECT pg_terminate_backend(pid) FROM (${listeners}) l`)).toHaveLength(1);
    await scene.store.requestStop(named(id), 'CLIENT');
    await waitFor(() => a.stopped.length === 1);
    expect(a.logger.lines).toEqual([
      expect.objectContaining({ level: 'warn', message: 'the connection that listens for stops was lost' }),
    ]);
  });
});
