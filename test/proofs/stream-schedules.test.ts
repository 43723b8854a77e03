import { startRedis, type TestRedis } from '../support/redis';
import { MISTAKES } from '../support/streams/stream-mistakes';
import { runSchedules } from '../support/streams/stream-schedules';

jest.setTimeout(900_000);

const setting = (name: string, fallback: number): number => (process.env[name] ? Number(process.env[name]) : fallback);
/** Of each test. More: STREAM_SCHEDULES=100. */
const SCHEDULES = setting('STREAM_SCHEDULES', 4);
/**
 * The standing run has the same plans each time, and what a machine makes of them differs. Others: STREAM_SEED=$(date
 * +%s). One that failed: STREAM_SEED=<its seed> STREAM_SCHEDULES=1.
 */
const SEED = setting('STREAM_SEED', 1_795_300_000);

test(`${SCHEDULES} schedules from seed ${SEED}, one process that dies and comes back: every viewer reads what the upstream said, to one end, for one row`, async () => {
  const { failed, counts } = await runSchedules({ schedules: SCHEDULES, seed: SEED, replicas: 1 });
  expect(failed).toEqual([]);
  expect(counts.streams).toBe(SCHEDULES * 5);
});

describe('two replicas on one Redis', () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());

  test(`${SCHEDULES} schedules from seed ${SEED}, and one of the replicas dies: the same, from any of them`, async () => {
    const { failed, counts } = await runSchedules({
      schedules: SCHEDULES,
      seed: SEED,
      replicas: 2,
      env: { REDIS_URL: redis.url },
    });
    expect(failed).toEqual([]);
    expect(counts.streams).toBe(SCHEDULES * 5);
  });
});

/** The test of this test: STREAM_MISTAKES=1. Takes a quarter of a minute for each. */
if (process.env.STREAM_MISTAKES) {
  test.each(MISTAKES)('finds that $name', async ({ name: _, ...mistake }) => {
    const { failed } = await runSchedules({ schedules: 12, seed: SEED, replicas: 1, mistake });
    expect(failed).not.toEqual([]);
  });
}
