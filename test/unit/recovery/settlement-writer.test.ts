import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Journal } from '../../../src/services/recovery/journal';
import { decodeFile } from '../../../src/services/recovery/journal-file';
import { writeFailureOf } from '../../../src/database/postgres-errors';
import { SettlementWriter } from '../../../src/services/recovery/settlement-writer';
import { callEnd } from '../../support/call-ends';
import { memoryLogger } from '../../support/log';
import { gate } from '../../support/provider-script';
import { waitFor } from '../../support/wait';
import type { Settlement } from '../../../src/domain/call';

/** A database by its interface: what it does with each end is said by the test. */
class FakeStore {
  readonly settled = new Map<string, Settlement>();
  readonly corrections: { ids: string[]; reason: string }[] = [];
  /** Ids of all tries, in their order. */
  readonly tries: string[] = [];
  fail: (end: Settlement) => unknown = () => null;
  failCorrection: (ends: readonly Settlement[]) => unknown = () => null;

  async settle(ends: readonly Settlement[]): Promise<string[]> {
    for (const end of ends) {
      this.tries.push(end.id);
      const error = await this.fail(end);
      if (error) throw error;
    }
    const fresh = ends.filter(({ id }) => !this.settled.has(id));
    for (const end of fresh) this.settled.set(end.id, end);
    return fresh.map(({ id }) => id);
  }

  async correct(ends: readonly Settlement[], reason: string): Promise<string[]> {
    const error = this.failCorrection(ends);
    if (error) throw error;
    this.corrections.push({ ids: ends.map(({ id }) => id), reason });
    return [];
  }
}
const pgError = (code: string): Error => Object.assign(new Error(`error ${code}`), { code });
const AWAY = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
const TIMING = { database: 300, replayFirst: 10, replayLast: 40, report: 0 };

let home: string;
let folder: string;
let store: FakeStore;
let logger: ReturnType<typeof memoryLogger>;
let writers: SettlementWriter[];
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'weir-writer-'));
  folder = path.join(home, 'journal', 'test');
  store = new FakeStore();
  logger = memoryLogger();
  writers = [];
});
afterEach(async () => {
  store.fail = () => null;
  await Promise.all(writers.map((writer) => writer.stop()));
  rmSync(home, { recursive: true, force: true });
});
const startWriter = async (journal = new Journal({ home, database: 'test', logger })): Promise<SettlementWriter> => {
  const writer = new SettlementWriter({ store, journal, logger, timing: TIMING });
  writers.push(writer);
  await writer.start();
  return writer;
};
const noFolder = (): void => {
  rmSync(folder, { recursive: true });
  writeFileSync(folder, 'a file');
};
const files = (): string[] => readdirSync(folder);
const errors = (): string[] => logger.lines.filter(({ level }) => level === 'error').map(({ message }) => message);

describe('an end that the database takes', () => {
  it('never sees the journal, and is not tried twice', async () => {
    const writer = await startWriter();
    await writer.write(callEnd({ id: 'call_a' }));
    expect([store.tries, store.corrections, files(), [...writer.pendingIds()]]).toEqual([['call_a'], [], [], []]);
  });

  it('after a short failure is written by one of the next tries', async () => {
    const writer = await startWriter();
    let failures = 2;
    store.fail = () => (failures-- > 0 ? AWAY : null);
    await writer.write(callEnd({ id: 'call_a' }));
    expect([store.settled.size, files()]).toEqual([1, []]);
  });

  it('and somebody else had settled is compared with what was booked', async () => {
    const writer = await startWriter();
    store.settled.set('call_a', callEnd({ id: 'call_a', status: 'LOST' }));
    await writer.write(callEnd({ id: 'call_a' }));
    expect(store.corrections).toEqual([{ ids: ['call_a'], reason: 'OWNER' }]);
  });
});

describe('an end while the database is away', () => {
  it('is pending from its first try until it is settled, and goes into the journal meanwhile', async () => {
    const writer = await startWriter();
    store.fail = () => AWAY;
    const written = writer.write(callEnd({ id: 'call_a' }));
    expect([...writer.pendingIds()]).toEqual(['call_a']);
    await written;
    expect([[...writer.pendingIds()], files().length, writer.inMemory]).toEqual([['call_a'], 1, 0]);
    store.fail = () => null;
    await waitFor(() => writer.pendingIds().size === 0);
    expect([files(), [...store.settled.keys()], store.corrections]).toEqual([[], ['call_a'], []]);
  });

  it('does not wait for a try that hangs, and what that try settles later is not settled twice', async () => {
    const writer = await startWriter();
    const hung = gate();
    store.fail = () => hung.opened;
    await writer.write(callEnd({ id: 'call_a' }));
    expect([store.tries.length, files().length]).toEqual([1, 1]);
    hung.open();
    await waitFor(() => files().length === 0);
    expect(store.settled.size).toBe(1);
    // The replay found it settled, by our own first try, and asked for the difference.
    expect(store.corrections).toEqual([{ ids: ['call_a'], reason: 'JOURNAL' }]);
  });

  it('is never tried twice at the same time: a store that groups would have the call in one statement twice', async () => {
    const looked = gate();
    const journal = new Journal({ home, database: 'test', logger });
    const replay = journal.replay.bind(journal);
    journal.replay = (settle) =>
      replay((ends) => {
        const settled = settle(ends);
        looked.open();
        return settled;
      });
    const writer = await startWriter(journal);
    const hung = gate();
    let at = 0;
    let most = 0;
    store.fail = async () => {
      most = Math.max(most, (at += 1));
      await hung.opened;
      at -= 1;
    };
    await writer.write(callEnd({ id: 'call_a' }));
    await looked.opened;
    await new Promise(setImmediate);
    hung.open();
    await waitFor(() => files().length === 0);
    expect(most).toBe(1);
  });

  it('is looked for with one statement, however many wait', async () => {
    const writer = await startWriter();
    store.fail = () => AWAY;
    const ends = Array.from({ length: 40 }, () => callEnd());
    await Promise.all(ends.map((end) => writer.write(end)));
    const before = store.tries.length;
    await waitFor(() => store.tries.length >= before + 3);
    expect(new Set(store.tries.slice(before, before + 3)).size).toBe(1);
    store.fail = () => null;
    await waitFor(() => writer.pendingIds().size === 0);
    expect(store.settled.size).toBe(40);
  });

  it('is settled by the next process before anything else, once', async () => {
    store.fail = () => AWAY;
    const first = await startWriter();
    await first.write(callEnd({ id: 'call_a' }));
    expect(await first.stop()).toBe(0);
    store.fail = () => null;
    const second = await startWriter();
    expect([[...store.settled.keys()], files(), [...second.pendingIds()]]).toEqual([['call_a'], [], []]);
  });

  it('is known to the next process as pending when the database is still away', async () => {
    store.fail = () => AWAY;
    await (await startWriter()).write(callEnd({ id: 'call_a' }));
    expect([...(await startWriter()).pendingIds()]).toEqual(['call_a']);
  });
});

describe('an end that neither the database nor the journal takes', () => {
  it('is told to its caller as SERVICE_UNAVAILABLE, reported, kept in memory, and settled when the database is back', async () => {
    const writer = await startWriter();
    noFolder();
    store.fail = () => AWAY;
    await expect(writer.write(callEnd({ id: 'call_a' }))).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect([writer.inMemory, [...writer.pendingIds()]]).toEqual([1, ['call_a']]);
    const report = logger.lines.find(({ message }) => message.includes('in memory only'));
    expect(report).toMatchObject({ level: 'error', fields: { inMemory: 1 } });
    store.fail = () => null;
    await waitFor(() => writer.inMemory === 0);
    expect([...store.settled.keys()]).toEqual(['call_a']);
  });

  it('goes into the journal as soon as that can be written', async () => {
    const writer = await startWriter();
    noFolder();
    store.fail = () => AWAY;
    await expect(writer.write(callEnd({ id: 'call_a' }))).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    rmSync(folder);
    await waitFor(() => writer.inMemory === 0);
    expect([files().length, [...writer.pendingIds()]]).toEqual([1, ['call_a']]);
  });

  it('is tried once more at the end of the process, which says how many are lost with it', async () => {
    const writer = await startWriter();
    noFolder();
    store.fail = () => AWAY;
    await Promise.allSettled([writer.write(callEnd({ id: 'call_a' })), writer.write(callEnd({ id: 'call_b' }))]);
    expect(await writer.stop()).toBe(2);
    expect(errors().at(-1)).toContain('are lost with this process');
    rmSync(folder);
    expect(await writer.stop()).toBe(0);
    expect(files()).not.toEqual([]);
  });

  it('in a process that could not open its journal, does not keep what is in it from being settled later', async () => {
    store.fail = () => AWAY;
    const first = await startWriter();
    await first.write(callEnd({ id: 'call_a' }));
    await first.stop();
    // Only a journal that was opened looks at what a dead writer left unfinished.
    const [name] = files() as [string];
    renameSync(path.join(folder, name), path.join(folder, name.replace('.journal', '.part')));
    renameSync(folder, `${folder}-elsewhere`);
    writeFileSync(folder, 'a file');
    store.fail = () => null;
    await startWriter();
    expect(errors()).toEqual([expect.stringContaining('the journal cannot be used')]);
    rmSync(folder);
    renameSync(`${folder}-elsewhere`, folder);
    await waitFor(() => store.settled.has('call_a'));
  });
});

describe('an end that the database will take at no time', () => {
  const aside = (): Settlement[] =>
    files()
      .filter((name) => name.endsWith('.damaged'))
      .flatMap((name) => decodeFile(readFileSync(path.join(folder, name))).ends);
  const answer = {
    id: 'msg_1',
    questionId: 'msg_0',
    role: 'ASSISTANT' as const,
    content: 'x',
    reasoning: null,
    parts: null,
    toolCalls: null,
    toolCallId: null,
    name: null,
    complete: true,
  };

  it.each(['22P05', '23503', '54000'])(
    'is settled without what others wrote, where that is the reason (%s)',
    async (code) => {
      const writer = await startWriter();
      const end = callEnd({ answer });
      store.fail = (row) => (row.answer || row.rawUsage ? pgError(code) : null);
      await writer.write(end);
      expect([...store.settled.values()]).toEqual([{ ...end, answer: null, rawUsage: null }]);
      expect([store.tries.length, files()]).toEqual([2, []]);
    },
  );

  it('is put aside whole, is for nobody else to end while this process lives, and is not tried again', async () => {
    const writer = await startWriter();
    const end = callEnd({ answer });
    store.fail = (row) => (row.id === end.id ? pgError('23514') : null);
    await writer.write(end);
    expect([aside(), [...writer.pendingIds()], store.tries.length]).toEqual([[end], [end.id], 2]);
    expect(errors().at(-1)).toContain('set aside in a file');
  });

  it('keeps no other from being settled when it comes out of the journal', async () => {
    const writer = await startWriter();
    store.fail = () => AWAY;
    const ends = Array.from({ length: 20 }, () => callEnd());
    await Promise.all(ends.map((end) => writer.write(end)));
    store.fail = ({ id }) => (id === ends[7]!.id ? pgError('22003') : null);
    await waitFor(() => writer.pendingIds().size === 0);
    expect(new Set(store.settled.keys())).toEqual(new Set(ends.filter((_, i) => i !== 7).map(({ id }) => id)));
    expect(aside()).toEqual([ends[7]]);
  });

  it.each([
    ['our own code stumbles over it', () => new TypeError('cannot read tokens of undefined')],
    ['Postgres fails at it again and again', () => pgError('XX000')],
  ])('is put aside after five tries when %s, and keeps no other waiting after that', async (_, error) => {
    const writer = await startWriter();
    store.fail = () => AWAY;
    const ends = [callEnd(), callEnd(), callEnd()];
    for (const end of ends) await writer.write(end);
    store.fail = ({ id }) => (id === ends[0]!.id ? error() : null);
    await waitFor(() => writer.pendingIds().size === 0);
    expect([store.settled.size, aside()]).toEqual([2, [ends[0]]]);
  });

  it('and is a correction, keeps no other correction from being booked', async () => {
    const writer = await startWriter();
    store.fail = () => AWAY;
    const ends = [callEnd(), callEnd(), callEnd()];
    for (const end of ends) await writer.write(end);
    for (const end of ends) store.settled.set(end.id, { ...end, status: 'LOST' });
    store.failCorrection = (batch) => (batch.some(({ id }) => id === ends[1]!.id) ? pgError('23514') : null);
    store.fail = () => null;
    await waitFor(() => writer.pendingIds().size === 0);
    expect(store.corrections.flatMap((one) => one.ids).sort()).toEqual([ends[0]!.id, ends[2]!.id].sort());
    expect(aside()).toEqual([ends[1]]);
  });

  it('and cannot be put aside either, stays in memory and is told to its caller', async () => {
    const writer = await startWriter();
    noFolder();
    store.fail = () => pgError('23514');
    await expect(writer.write(callEnd())).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(writer.inMemory).toBe(1);
    rmSync(folder);
    await waitFor(() => writer.inMemory === 0);
    expect(aside()).toHaveLength(1);
  });
});

describe('failureOf', () => {
  it.each([
    ['REFUSED', ['22003', '22P05', '23503', '54001', 'P0001']],
    ['SUSPECT', ['XX000', '0A000', '21000']],
    [
      'AWAY',
      [
        '08006',
        '25006',
        '40P01',
        '42883',
        '53100',
        '53300',
        '55P03',
        '57014',
        '57P01',
        '57P03',
        '58030',
        'ECONNREFUSED',
        'ECONNRESET',
        'EPIPE',
        'ETIMEDOUT',
      ],
    ],
  ])('is %s', (failure, codes) => {
    expect(codes.map((code) => writeFailureOf(pgError(code)))).toEqual(codes.map(() => failure));
  });

  it('takes an error without a code for a lost connection', () => {
    expect([
      writeFailureOf(new Error('Query read timeout')),
      writeFailureOf(null),
      writeFailureOf(new RangeError('Invalid string length')),
    ]).toEqual(['AWAY', 'AWAY', 'REFUSED']);
  });
});
