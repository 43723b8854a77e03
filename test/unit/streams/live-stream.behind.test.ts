import { LiveStream } from '../../../src/services/streams/live-stream';
import type { Appended, SharedLogWriter } from '../../../src/services/streams/stream.types';

const text = (length: number) => ({ kind: 'TextDelta' as const, text: 'x'.repeat(length) });

/** A log that answers when it is told to. */
class SlowLog implements SharedLogWriter {
  readonly asked: number[] = [];
  private answers: ((appended: Appended) => void)[] = [];
  append(until: number): Promise<Appended> {
    this.asked.push(until);
    return new Promise((resolve) => this.answers.push(resolve));
  }
  async answer(appended: Appended = 'KEPT'): Promise<void> {
    this.answers.shift()!(appended);
    await new Promise(setImmediate);
  }
  async theirEnd(): Promise<null> {
    return null;
  }
  release(): void {}
}

describe('a stream whose shared log is slow', () => {
  const behindOf = (stream: LiveStream): { caughtUp: boolean } | null => {
    const promise = stream.behind();
    const state = { caughtUp: false };
    void promise?.then(() => (state.caughtUp = true));
    return promise && state;
  };

  it('says so when 64 KB have come that nobody was shown, and when they are', async () => {
    const log = new SlowLog();
    const stream = new LiveStream({ owner: null, shared: log });
    stream.add(text(10));
    expect(log.asked).toEqual([1]);
    for (let i = 0; i < 64; i += 1) stream.add(text(1_024));
    // Ten characters are on their way.
    const behind = behindOf(stream)!;
    await log.answer();
    expect([behind.caughtUp, log.asked]).toEqual([true, [1, 65]]);
    expect(stream.behind()).toBeNull();
    stream.add(text(10));
    const again = behindOf(stream)!;
    expect(stream.lastSeq).toBe(1);
    await log.answer();
    expect([again.caughtUp, stream.lastSeq]).toEqual([true, 65]);
  });

  it.each<Appended>(['AWAY', 'CLOSED'])('is behind nothing any more when that is %s', async (appended) => {
    const log = new SlowLog();
    const stream = new LiveStream({ owner: null, shared: log });
    stream.add(text(100_000));
    const behind = behindOf(stream)!;
    await log.answer(appended);
    expect(behind.caughtUp).toBe(true);
    expect(stream.behind()).toBeNull();
  });
});

it('a stream of this process alone is never behind: what came goes out before its time', () => {
  const stream = new LiveStream({ owner: null });
  for (let i = 0; i < 1_000; i += 1) {
    stream.add(text(1_024));
    expect(stream.behind()).toBeNull();
  }
  expect(stream.lastSeq).toBeGreaterThan(900);
});
