import { createProgress } from '../../../launch/progress';

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** A terminal that remembers; the clock is jest's. */
function terminal(isTTY: boolean): { isTTY: boolean; columns: number; text: string; write(text: string): void } {
  return {
    isTTY,
    columns: 60,
    text: '',
    write(text) {
      this.text += text;
    },
  };
}
const start = (out: ReturnType<typeof terminal>, ms: number, note = ''): Promise<unknown> =>
  createProgress(out, () => Date.now()).step('building', async (step) => {
    if (note) step.note(note);
    await new Promise((resolve) => setTimeout(resolve, ms));
  });

test('a step prints one line with its time when it ends', async () => {
  const out = terminal(false);
  const done = start(out, 1_500);
  await jest.advanceTimersByTimeAsync(1_500);
  await done;
  expect(out.text).toMatch(/^ {2}✓ building {2,}1\.5 s\n$/);
});

test('a step over two seconds shows a sign of life, with what it is doing', async () => {
  const out = terminal(false);
  const done = start(out, 30_000, 'package 3\nof 9');
  await jest.advanceTimersByTimeAsync(2_400);
  expect(out.text).toMatch(/^ {2}… building 2\.\d s \(package 3 of 9\)\n$/);
  await jest.advanceTimersByTimeAsync(27_600);
  await done;
  expect(out.text.match(/…/g)).toHaveLength(3);
});

test('without a terminal there are no control characters', async () => {
  const out = terminal(false);
  const done = start(out, 5_000);
  await jest.advanceTimersByTimeAsync(5_000);
  await done;
  expect(out.text).not.toMatch(/[\r\x1b]/);
});

test('on a terminal the sign of life is one line that is rewritten, never wider than the window', async () => {
  const out = terminal(true);
  const done = start(out, 5_000, 'x'.repeat(200));
  await jest.advanceTimersByTimeAsync(5_000);
  await done;
  const lines = out.text.split('\n');
  expect(lines).toHaveLength(2);
  for (const frame of out.text.split('\r\x1b[2K')) expect(frame.trimEnd().length).toBeLessThan(60);
});

test('a step that fails says so and passes the error on', async () => {
  const out = terminal(false);
  await expect(
    createProgress(out).step('building', async () => {
      throw new Error('no compiler');
    }),
  ).rejects.toThrow('no compiler');
  expect(out.text).toMatch(/✗ building/);
});
