import { KeepRunning, type Kept } from '../../../launch/keep-running';
import { waitFor } from '../../support/wait';

interface Program extends Kept {
  port: number;
  end(): void;
  stopped: number;
}

function program(port: number): Program {
  let end = (): void => {};
  const exited = new Promise<void>((resolve) => (end = resolve));
  const started: Program = {
    port,
    exited,
    end: () => end(),
    stopped: 0,
    stop: async () => ((started.stopped += 1), end()),
    kill: () => end(),
  };
  return started;
}

function keeping(options: { fails?: (start: number) => boolean; soundAfterMs?: number } = {}) {
  const abort = new AbortController();
  const started: Program[] = [];
  const said: string[] = [];
  let starts = 0;
  const kept = new KeepRunning<Program>({
    title: 'It',
    start: async (before) => {
      starts += 1;
      if (options.fails?.(starts)) throw new Error('no luck');
      const one = program(before?.port ?? 5_000 + starts);
      started.push(one);
      return one;
    },
    say: (text) => said.push(text),
    hint: () => 'calls fail',
    signal: abort.signal,
    waitsMs: [1, 1, 1],
    ...(options.soundAfterMs === undefined ? {} : { soundAfterMs: options.soundAfterMs }),
  });
  return { kept, abort, started, said, starts: () => starts };
}

test('a program that ends by itself is started again at the same address, which is said', async () => {
  const { kept, abort, started, said } = keeping();
  (await kept.first).end();
  await waitFor(() => started.length === 2);
  expect(started.map(({ port }) => port)).toEqual([5_001, 5_001]);
  // What was left of its group is gone.
  expect(started[0]!.stopped).toBe(1);
  expect(said).toEqual([
    expect.stringMatching(/^It ended by itself, and is started again in 0.001 s \(1 of 3\); calls fail/),
  ]);
  abort.abort();
  await kept.stop();
  expect(started[1]!.stopped).toBeGreaterThan(0);
  expect(started).toHaveLength(2);
});

test('after three new starts it is given up, which is said', async () => {
  const { kept, abort, started, said, starts } = keeping({ fails: (start) => start === 3 });
  (await kept.first).end();
  await waitFor(() => started.length === 2);
  started[1]!.end();
  // The third start fails, and counts.
  await waitFor(() => started.length === 3);
  started[2]!.end();
  await waitFor(() => said.at(-1)!.includes('not started any more'));
  expect(starts()).toBe(4);
  expect(said).toContain('It: no luck');
  abort.abort();
  await kept.stop();
});

test('a program that ran long has its new starts back', async () => {
  const { kept, abort, started } = keeping({ soundAfterMs: 0 });
  await kept.first;
  for (let round = 0; round < 6; round += 1) {
    await waitFor(() => started.length === round + 1);
    started[round]!.end();
  }
  await waitFor(() => started.length === 7);
  abort.abort();
  await kept.stop();
});

test('a stop is not an end by itself, and a first start that fails is told to the caller', async () => {
  const { kept, abort, said, starts } = keeping();
  await kept.first;
  abort.abort();
  await kept.stop();
  expect(said).toEqual([]);
  expect(starts()).toBe(1);
  await expect(keeping({ fails: () => true }).kept.first).rejects.toThrow('no luck');
});
