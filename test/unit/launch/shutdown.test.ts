import { createProgress } from '../../../launch/progress';
import { Shutdown, STOP_ORDER } from '../../../launch/shutdown';
import { StoppedMeanwhile } from '../../../launch/upstream';

function setUp(): {
  shutdown: Shutdown;
  events: string[];
  pass(ms: number): void;
  exited: Promise<number>;
  printed: () => string;
} {
  let text = '';
  let now = 0;
  const events: string[] = [];
  let exit: (code: number) => void;
  const exited = new Promise<number>((resolve) => (exit = resolve));
  const progress = createProgress({ write: (more: string) => (text += more) });
  const shutdown = new Shutdown({
    progress,
    now: () => now,
    exit: (code) => (events.push(`exit ${code}`), exit(code)),
  });
  return { shutdown, events, pass: (ms) => (now += ms), exited, printed: () => text };
}

test('everything ends in the order server, litellm, demo, postgres, lock, whatever order it was started in', async () => {
  const { shutdown, events, exited } = setUp();
  for (const name of [...STOP_ORDER].reverse())
    shutdown.add(name, { title: name, stop: async () => void events.push(name) });
  shutdown.onSignal();
  expect(await exited).toBe(0);
  expect(events).toEqual(['server', 'litellm', 'demo', 'postgres', 'lock', 'exit 0']);
});

test('a part that does not stop cleanly is named, and the others stop all the same', async () => {
  const { shutdown, events, exited, printed } = setUp();
  shutdown.add('server', { title: 'the server', stop: () => Promise.reject(new Error('socket stuck')) });
  shutdown.add('postgres', { title: 'the database', stop: async () => void events.push('postgres') });
  shutdown.onSignal();
  expect(await exited).toBe(1);
  expect(events).toContain('postgres');
  expect(printed()).toContain('the server: socket stuck');
});

test('the same Ctrl-C, passed on by npm a moment later, does not count as a second one', async () => {
  const { shutdown, events, pass, exited } = setUp();
  shutdown.add('postgres', { title: 'the database', stop: async () => {}, kill: () => events.push('killed') });
  shutdown.onSignal();
  pass(50);
  shutdown.onSignal();
  await exited;
  expect(events).toEqual(['exit 0']);
});

test('a second Ctrl-C ends everything at once', () => {
  const { shutdown, events, pass } = setUp();
  shutdown.add('server', { title: 'the server', stop: () => new Promise(() => {}) });
  shutdown.add('postgres', { title: 'the database', stop: async () => {}, kill: () => events.push('killed') });
  shutdown.onSignal();
  pass(1_000);
  shutdown.onSignal();
  expect(events).toEqual(['killed', 'exit 130']);
});

test('a stop in the middle of a step gives the step up', async () => {
  const { shutdown } = setUp();
  const work = shutdown.unlessStopped(new Promise(() => {}));
  shutdown.onSignal();
  await expect(work).rejects.toBeInstanceOf(StoppedMeanwhile);
  await expect(shutdown.unlessStopped(Promise.resolve())).rejects.toBeInstanceOf(StoppedMeanwhile);
});
