import { IdempotencyWaiters } from '../../../src/services/idempotency/waiters';
import type { KeyName, KeyRow } from '../../../src/services/idempotency/idempotency.store';
import type { Logger } from '../../../src/lib/logger';
import type { RunningCall } from '../../../src/domain/running-call';

const NAME: KeyName = { organizationId: 'org_1', userId: 'usr_1', key: 'k' };
const row = (fields: Partial<KeyRow> = {}): KeyRow => ({
  callId: 'call_1',
  inputHash: 'h',
  firstUsedAt: new Date(0),
  ended: false,
  expired: false,
  stored: null,
  ...fields,
});

describe('waiting for the end of a call of the same key', () => {
  let rows: Map<string, KeyRow | Error>;
  let reads: string[];
  let running: Map<string, RunningCall>;
  let warned: number;
  let waits: IdempotencyWaiters;
  beforeEach(() => {
    jest.useFakeTimers();
    rows = new Map([['k', row()]]);
    reads = [];
    running = new Map();
    warned = 0;
    waits = new IdempotencyWaiters({
      read: async ({ key }) => {
        reads.push(key);
        const found = rows.get(key);
        if (found instanceof Error) throw found;
        return found ?? null;
      },
      running: { find: (id) => running.get(id) ?? null },
      logger: { warn: () => (warned += 1) } as unknown as Logger,
      maxMs: 60_000,
    });
  });
  afterEach(() => {
    void waits.stop();
    jest.useRealTimers();
  });
  /** A call of this process, and what ends it. */
  const runHere = (callId: string): (() => Promise<void>) => {
    let end!: () => void;
    const done = new Promise<boolean>((resolve) => (end = () => resolve(true)));
    running.set(callId, { callId, viewer: null as never, streamed: false, done, stop: () => true });
    return async () => {
      running.delete(callId);
      end();
      await jest.advanceTimersByTimeAsync(0);
    };
  };
  const ended = row({ ended: true, stored: { a: 1 } });

  it('of another process: asks soon, then more and more seldom, at most once a second', async () => {
    const waiting = waits.wait(NAME, 'call_1');
    const at: number[] = [];
    let seen = 0;
    for (let ms = 0; ms < 6_000; ms += 10) {
      await jest.advanceTimersByTimeAsync(10);
      if (reads.length > seen) at.push(ms + 10);
      seen = reads.length;
    }
    expect(at[0]).toBe(10);
    const gaps = at.slice(1).map((ms, i) => ms - at[i]!);
    expect(gaps[0]).toBeLessThanOrEqual(110);
    expect(gaps.every((gap, i) => i === 0 || gap >= gaps[i - 1]! - 10)).toBe(true);
    expect(Math.max(...gaps)).toBeGreaterThan(900);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_010);
    rows.set('k', ended);
    await jest.advanceTimersByTimeAsync(1_010);
    await expect(waiting).resolves.toBe(ended);
  });

  it('is one reading for all who wait for one key', async () => {
    const all = Promise.all(Array.from({ length: 50 }, () => waits.wait(NAME, 'call_1')));
    await jest.advanceTimersByTimeAsync(110);
    expect(reads).toEqual(['k', 'k']);
    rows.set('k', ended);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(new Set(await all)).toEqual(new Set([ended]));
    expect(reads).toEqual(['k', 'k', 'k']);
  });

  it('goes on where new waits begin all the time', async () => {
    const first = waits.wait(NAME, 'call_1');
    await jest.advanceTimersByTimeAsync(1);
    rows.set('k', ended);
    for (let i = 2; i < 20; i += 1) {
      rows.set(`k${i}`, row({ callId: `call_${i}` }));
      void waits.wait({ ...NAME, key: `k${i}` }, `call_${i}`).catch(() => {});
      await jest.advanceTimersByTimeAsync(30);
    }
    await expect(Promise.race([first, 'still waits'])).resolves.toBe(ended);
  });

  it('of this process: is told by the call, and asks nobody before', async () => {
    const end = runHere('call_1');
    const waiting = waits.wait(NAME, 'call_1');
    await jest.advanceTimersByTimeAsync(5_000);
    expect(reads).toEqual([]);
    rows.set('k', ended);
    await end();
    await expect(waiting).resolves.toBe(ended);
    expect(reads).toEqual(['k']);
  });

  it('of this process, whose end could not be written yet: waits until it is', async () => {
    const end = runHere('call_1');
    const waiting = waits.wait(NAME, 'call_1');
    await jest.advanceTimersByTimeAsync(0);
    await end();
    rows.set('k', ended);
    await jest.advanceTimersByTimeAsync(1_000);
    await expect(waiting).resolves.toBe(ended);
  });

  it.each([
    ['gone', undefined],
    ['the key of another call', row({ callId: 'call_2' })],
    ['the ended key of another call', row({ callId: 'call_2', ended: true, stored: {} })],
  ])('a row that is %s frees the key', async (_name, found) => {
    const waiting = waits.wait(NAME, 'call_1');
    if (found) rows.set('k', found);
    else rows.delete('k');
    await jest.advanceTimersByTimeAsync(110);
    await expect(waiting).resolves.toBeNull();
  });

  it('outlives a database that is away', async () => {
    const waiting = waits.wait(NAME, 'call_1');
    rows.set('k', new Error('away'));
    await jest.advanceTimersByTimeAsync(3_000);
    expect(warned).toBeGreaterThan(1);
    rows.set('k', ended);
    await jest.advanceTimersByTimeAsync(1_010);
    await expect(waiting).resolves.toBe(ended);
  });

  it('ends for a client that leaves, and goes on for the others', async () => {
    const leaving = new AbortController();
    const left = waits.wait(NAME, 'call_1', leaving.signal);
    const stays = waits.wait(NAME, 'call_1');
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    await expect(waits.wait(NAME, 'call_1', leaving.signal)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    rows.set('k', ended);
    await jest.advanceTimersByTimeAsync(1_010);
    await expect(stays).resolves.toBe(ended);
  });

  it('asks nothing any more when the last one has left', async () => {
    const leaving = new AbortController();
    const left = waits.wait(NAME, 'call_1', leaving.signal);
    leaving.abort();
    await expect(left).rejects.toThrow();
    await jest.advanceTimersByTimeAsync(5_000);
    expect(reads).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('has an end', async () => {
    const waiting = waits.wait(NAME, 'call_1');
    waiting.catch(() => {});
    await jest.advanceTimersByTimeAsync(60_000);
    await expect(waiting).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfterMs: 5_000 });
  });

  it('ends when the server shuts down, except for calls that are ended here', async () => {
    const end = runHere('call_2');
    rows.set('k2', row({ callId: 'call_2', ended: true }));
    const remote = waits.wait(NAME, 'call_1');
    remote.catch(() => {});
    const local = waits.wait({ ...NAME, key: 'k2' }, 'call_2');
    await jest.advanceTimersByTimeAsync(0);
    let stopped = false;
    const stopping = waits.stop().then(() => (stopped = true));
    await expect(remote).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfterMs: 1_000 });
    await expect(within(waits.wait(NAME, 'call_1'))).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(stopped).toBe(false);
    await end();
    await expect(local).resolves.toMatchObject({ callId: 'call_2' });
    await stopping;
  });
  const within = async <T>(promise: Promise<T>): Promise<T> => {
    promise.catch(() => {});
    await jest.advanceTimersByTimeAsync(0);
    return promise;
  };
});
