import { reportLimiter } from '../../../src/services/usage/report-limiter';

/** Work that goes on until it is told to end. */
function job() {
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const self = { started: false, end: () => end(), work: async () => ((self.started = true), ended) };
  return self;
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const refused = { code: 'RATE_LIMITED', retryAfterMs: expect.any(Number) };

test('no more than a few reports run at a time, and another user is not behind all of one user', async () => {
  const limiter = reportLimiter({ max: 2 });
  const ofAda = [job(), job(), job(), job()];
  const ofBob = job();
  const all = [...ofAda.map(({ work }) => limiter.run('ada', work)), limiter.run('bob', ofBob.work)];
  await turn();
  expect(ofAda.map(({ started }) => started)).toEqual([true, true, false, false]);
  ofAda[0]!.end();
  await turn();
  expect([ofBob.started, ofAda[2]!.started]).toEqual([true, false]);
  for (const one of [...ofAda, ofBob]) one.end();
  await Promise.all(all);
});

test('a report that fails makes room for the next', async () => {
  const limiter = reportLimiter({ max: 1 });
  await expect(limiter.run('ada', async () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await expect(limiter.run('ada', async () => 1)).resolves.toBe(1);
});

test('the queue has an end, for one user and for all', async () => {
  const limiter = reportLimiter({ max: 1, maxWaiting: 2, maxWaitingOfKey: 1 });
  const jobs = [job(), job(), job()];
  const all = [limiter.run('ada', jobs[0]!.work), limiter.run('ada', jobs[1]!.work)];
  await expect(limiter.run('ada', job().work)).rejects.toMatchObject(refused);
  all.push(limiter.run('bob', jobs[2]!.work));
  await expect(limiter.run('eve', job().work)).rejects.toMatchObject(refused);
  for (const one of jobs) one.end();
  await Promise.all(all);
});

test('nobody waits without limit, and who gave up is not run later', async () => {
  const limiter = reportLimiter({ max: 1, waitMs: 5 });
  const [running, late] = [job(), job()];
  const first = limiter.run('ada', running.work);
  await expect(limiter.run('bob', late.work)).rejects.toMatchObject(refused);
  running.end();
  await first;
  await turn();
  expect(late.started).toBe(false);
});
