import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { watchLag } from '../../support/lag';
import { eventually, waitFor, within } from '../../support/wait';

const DEADLINE_MS = 100;
const never = new Promise<never>(() => {});
const unnamed = (): boolean => false;
const noCow = (): Promise<never> => Promise.reject(new Error('no cow'));
const cow = { deadlineMs: DEADLINE_MS, what: 'the cow' };
/** What the machine is allowed: far below the default, which a wait that forgets its deadline would take. */
const SMALL_FACTOR = 10;

interface Failure {
  message: string;
  stack: string;
  tookMs: number;
}

/** Its failure, and how many milliseconds it took in which this process ran. */
async function failureOf(wait: () => Promise<unknown>): Promise<Failure> {
  const since = performance.now();
  const lag = watchLag();
  const error = await wait().then(
    () => null,
    (cause: Error) => cause,
  );
  const tookMs = performance.now() - since - lag.stop();
  if (!error) throw new Error('it did not fail');
  return { message: error.message, stack: error.stack!, tookMs };
}

function block(ms: number): void {
  for (const since = performance.now(); performance.now() - since < ms;);
}

describe('a wait with a deadline', () => {
  it.each<[string, () => Promise<unknown>, string]>([
    ['for a condition that never holds', () => waitFor(() => 0, cow), 'waited 100 ms for the cow; last seen: 0'],
    ['for a condition that throws', () => waitFor(noCow, cow), 'waited 100 ms for the cow; last seen: no cow'],
    ['for one without answer', () => waitFor(() => never, cow), 'waited 100 ms for the cow; last seen: undefined'],
    ['without a name', () => waitFor(unnamed, { deadlineMs: 100 }), `waited 100 ms for ${unnamed}; last seen: false`],
    ['for a promise', () => within(never, DEADLINE_MS, 'the cow'), 'the cow took more than 100 ms'],
  ])('%s fails then, and says what did not come', async (_what, wait, message) => {
    const failure = await failureOf(wait);
    expect(failure.message).toBe(message);
    expect(failure.tookMs).toBeGreaterThan(DEADLINE_MS / 2);
    expect(failure.tookMs).toBeLessThan(SMALL_FACTOR * DEADLINE_MS);
  });

  it('fails with a stack that leads to who waited', async () => {
    async function aTestThatWaits(): Promise<void> {
      await waitFor(() => false, { deadlineMs: 1 });
    }
    expect((await failureOf(aTestThatWaits)).stack).toContain('aTestThatWaits');
  });

  interface Arrival {
    there: boolean;
    promise: Promise<unknown>;
  }
  it.each<[string, (arrival: Arrival) => Promise<unknown>]>([
    ['condition', (arrival) => waitFor(() => arrival.there, { deadlineMs: DEADLINE_MS })],
    ['promise', (arrival) => within(arrival.promise, DEADLINE_MS, 'it')],
  ])('does not count that nothing ran (%s)', async (_what, wait) => {
    const arrival = { there: false, promise: sleep(DEADLINE_MS / 4) };
    void arrival.promise.then(() => (arrival.there = true));
    const waiting = wait(arrival);
    block(5 * DEADLINE_MS);
    // The deadline has passed by the clock on the wall, and what is waited for comes some turns later.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    await waiting;
  });

  it('counts again when everything runs again', async () => {
    const failure = failureOf(() => within(never, DEADLINE_MS, 'it'));
    block(2 * DEADLINE_MS);
    expect((await failure).tookMs).toBeLessThan(SMALL_FACTOR * DEADLINE_MS);
  });

  it('asks no more when it has failed', async () => {
    let asked = 0;
    await failureOf(() => waitFor(() => void (asked += 1), { deadlineMs: 20 }));
    const before = asked;
    await sleep(50);
    expect(asked).toBeLessThanOrEqual(before + 1);
  });

  it('leaves nothing behind that keeps a process alive', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    await waitFor(() => true);
    await eventually(Promise.resolve(), 'it');
    await failureOf(() => within(Promise.reject(new Error('broken')), DEADLINE_MS, 'it'));
    await failureOf(() => within(never, 1, 'it'));
    expect(timers()).toBeLessThanOrEqual(before);
  });
});

describe('a wait', () => {
  it('gives what it waited for, and the failure of a promise', async () => {
    const target = new EventTarget();
    setImmediate(() => target.dispatchEvent(new Event('milk')));
    expect((await eventually(once(target as never, 'milk'), 'milk'))[0]).toBeInstanceOf(Event);
    let round = 0;
    expect(await waitFor(() => ((round += 1) > 25 ? { round } : null))).toEqual({ round: 26 });
    await expect(within(Promise.reject(new Error('broken')), DEADLINE_MS, 'it')).rejects.toThrow('broken');
  });
});

describe('lag', () => {
  it('is what nothing ran, for each that watches from when it began', async () => {
    const early = watchLag();
    block(100);
    const late = watchLag();
    block(200);
    expect(late.stop()).toBeGreaterThan(150);
    expect(early.read()).toBeGreaterThan(250);
    // It counts no further once it is stopped.
    const told = early.stop();
    block(50);
    expect(early.stop()).toBe(told);
  });
});
