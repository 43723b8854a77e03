import { AbortableIterator, type Sink } from '../../../src/lib/abortable-iterator';

function build(merge?: (last: string, value: string) => string | null) {
  const log: string[] = [];
  let sink: Sink<string> | null = null;
  const iterator = new AbortableIterator<string>(
    {
      start: (s) => {
        sink = s;
        log.push('start');
      },
      onLeave: () => log.push('leave'),
      onDrain: () => log.push('drain'),
    },
    merge,
  );
  return { iterator, log, sink: () => sink! };
}

describe('AbortableIterator', () => {
  it('starts its source on the first next() only', async () => {
    const { iterator, log, sink } = build();
    expect(log).toEqual([]);
    const first = iterator.next();
    expect(log).toEqual(['start']);
    sink().push('a');
    expect(await first).toEqual({ value: 'a', done: false });
    void iterator.next();
    expect(log).toEqual(['start']);
  });

  it('ends a waiting next() and leaves the source at once when the consumer returns', async () => {
    const { iterator, log } = build();
    const waiting = iterator.next();
    const returned = iterator.return();
    expect(log).toEqual(['start', 'leave']); // before anything was awaited
    expect(await waiting).toEqual({ value: undefined, done: true });
    expect(await returned).toEqual({ value: undefined, done: true });
  });

  it('runs its clean-up once, also when it was never started, and never starts afterwards', async () => {
    const { iterator, log } = build();
    await iterator.return();
    await iterator.return();
    expect(await iterator.next()).toEqual({ value: undefined, done: true });
    expect(log).toEqual(['leave']);
  });

  it('does not call leaving what ends by itself', async () => {
    const { iterator, log, sink } = build();
    const first = iterator.next();
    sink().push('a');
    sink().end();
    expect((await first).value).toBe('a');
    expect((await iterator.next()).done).toBe(true);
    await iterator.return();
    expect(log).toEqual(['start']);
  });

  it('gives what was waiting before it tells the error, and the error once', async () => {
    const { iterator, sink } = build();
    const first = iterator.next();
    sink().push('a');
    sink().push('b');
    sink().fail(new Error('cut'));
    expect((await first).value).toBe('a');
    expect((await iterator.next()).value).toBe('b');
    await expect(iterator.next()).rejects.toThrow('cut');
    expect((await iterator.next()).done).toBe(true);
  });

  it('joins what waits for a slow consumer instead of queueing it', async () => {
    const { iterator, sink } = build((last, value) => last + value);
    const first = iterator.next();
    for (const letter of 'abcd') sink().push(letter);
    expect(sink().waiting).toBe(1);
    expect((await first).value).toBe('a');
    expect((await iterator.next()).value).toBe('bcd');
  });

  it('leaves the source when the consumer throws, and ignores what comes later', async () => {
    const { iterator, log, sink } = build();
    void iterator.next();
    await expect(iterator.throw(new Error('mine'))).rejects.toThrow('mine');
    sink().push('late');
    expect(sink().waiting).toBe(0);
    expect(log).toEqual(['start', 'leave']);
  });

  it('gives what a source keeps to all who wait when it is told once, and ends those that are left', async () => {
    const kept = ['a', 'b'];
    let open = false;
    const iterator = new AbortableIterator<string>({
      start: () => {},
      onLeave: () => {},
      take: () => (open && kept.length > 0 ? { value: kept.shift()!, last: kept.length === 0 } : null),
    });
    const waiting = [iterator.next(), iterator.next(), iterator.next()];
    open = true;
    iterator.wake();
    expect(await Promise.all(waiting)).toEqual([
      { value: 'a', done: false },
      { value: 'b', done: false },
      { value: undefined, done: true },
    ]);
  });
});
