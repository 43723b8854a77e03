import { fork, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Journal } from '../../../src/services/recovery/journal';
import { decodeFile, encodeFile } from '../../../src/services/recovery/journal-file';
import { callEnd } from '../../support/call-ends';
import { memoryLogger } from '../../support/log';
import type { Settlement } from '../../../src/domain/call';

let home: string;
let folder: string;
let logger: ReturnType<typeof memoryLogger>;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'weir-journal-'));
  folder = path.join(home, 'journal', 'test');
  logger = memoryLogger();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const openJournal = async (limits?: { entries: number; bytes: number }): Promise<Journal> => {
  const journal = new Journal({ home, database: 'test', logger, limits });
  await journal.open();
  return journal;
};
const files = (): string[] => readdirSync(folder).sort();
/** What a journal gives, and has given with that. */
const replayed = async (journal: Journal): Promise<Settlement[]> => {
  const all: Settlement[] = [];
  await journal.replay(async (ends) => void all.push(...ends));
  return all;
};
const ids = (ends: readonly Settlement[]): string[] => ends.map(({ id }) => id);

describe('what is written', () => {
  // tsc refuses this when a Settlement gets a field that JSON would change.
  type Changed<T> = unknown extends T
    ? false
    : T extends bigint | symbol | Date | ((...a: never[]) => unknown)
      ? true
      : T extends readonly (infer U)[]
        ? Changed<U>
        : T extends object
          ? true extends { [K in keyof T]-?: Changed<Exclude<T[K], undefined>> }[keyof T]
            ? true
            : false
          : false;
  const unchanged: [Changed<Settlement>] extends [false] ? true : never = true;

  it('is read back unchanged by the next process, whatever others wrote into it', async () => {
    expect(unchanged).toBe(true);
    const end = callEnd({
      answer: {
        id: 'msg_1',
        questionId: 'msg_0',
        role: 'ASSISTANT',
        content: 'two\nlines\r\n\u2028 and \ud83d\ude00, half of one \ud83d, a \0, "quotes" and \\',
        reasoning: null,
        parts: null,
        toolCalls: [{ toolCallId: 't', name: 'f', arguments: '{"a":1}' }],
        toolCallId: null,
        name: null,
        complete: true,
      },
      rawUsage: JSON.parse('{"__proto__":{"a":1},"n":1e-7,"deep":[[[{}]]]}') as Record<string, unknown>,
      heldOn: [{ budgetId: 'bud_1', startsOn: '2026-11-01' }],
      idempotency: { key: 'k', stored: { text: 'x', list: [1, null, true] } },
    });
    await (await openJournal()).write([end]);
    const next = await openJournal();
    expect(next.size).toBe(1);
    expect(next.ids()).toEqual([end.id]);
    expect(await replayed(next)).toEqual([end]);
    expect(files()).toEqual([]);
    expect(next.size).toBe(0);
  });

  it('can be read by nobody else', async () => {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const journal = await openJournal();
    await journal.write([callEnd()]);
    await journal.setAside([callEnd()]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(files().map((name) => statSync(path.join(folder, name)).mode & 0o777)).toEqual([0o600, 0o600]);
  });

  it('shares files when it comes together, and is given to the database 200 at a time', async () => {
    const journal = await openJournal();
    const ends = Array.from({ length: 300 }, () => callEnd());
    await Promise.all(ends.map((end) => journal.write([end])));
    expect(files().length).toBeLessThan(10);
    const batches: number[] = [];
    const seen: string[] = [];
    expect(
      await journal.replay(async (batch) => {
        batches.push(batch.length);
        seen.push(...ids(batch));
      }),
    ).toBe(300);
    expect(Math.max(...batches)).toBeLessThanOrEqual(200);
    expect(seen.sort()).toEqual(ids(ends).sort());
  });
});

describe('a replay that fails', () => {
  it('removes nothing of what it did not settle', async () => {
    const journal = await openJournal();
    await journal.write([callEnd()]);
    await expect(journal.replay(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
    expect(journal.size).toBe(1);
    expect(await replayed(journal)).toHaveLength(1);
  });
});

describe('a file that is cut or damaged', () => {
  const two = [callEnd({ id: 'call_a' }), callEnd({ id: 'call_b' })];
  const whole = encodeFile(two);
  /** Where the first and the second entry are complete. */
  const ends = whole.reduce<number[]>((found, byte, at) => (byte === 0x0a ? [...found, at] : found), []).slice(1);

  it('gives every entry that is complete, cut at every byte, and says that it is not whole', () => {
    for (let length = 0; length <= whole.length; length += 1) {
      const read = decodeFile(whole.subarray(0, length));
      expect(read.ends).toEqual(two.slice(0, ends.filter((end) => length >= end).length));
      // The last byte is the end of a line that its checksum knows to be complete.
      expect(read.whole).toBe(length >= whole.length - 1);
    }
  });

  it('gives no entry with a flipped bit, the others all the same, and says that it is not whole', () => {
    for (let at = 0; at < whole.length - 1; at += 1) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 1 << (at % 8);
      const read = decodeFile(flipped);
      expect(read.whole).toBe(false);
      for (const end of read.ends) expect(two).toContainEqual(end);
      const line = ends.findIndex((end) => at < end);
      // The end of a line belongs to both.
      if (whole[at] !== 0x0a && flipped[at] !== 0x0a)
        expect(ids(read.ends)).toEqual(ids(two.filter((_, i) => at <= whole.indexOf(0x0a) || i !== line)));
    }
  });

  it.each(['cut', 'a bit flipped'])(
    'is settled as far as it can be read, kept, and reported once without its content (%s)',
    async (how) => {
      mkdirSync(folder, { recursive: true });
      const name = '2026-1-x.journal';
      const file = path.join(folder, name);
      const flipped = Buffer.from(whole);
      flipped[whole.length - 40]! ^= 1;
      writeFileSync(file, how === 'cut' ? whole.subarray(0, whole.length - 40) : flipped);

      const journal = await openJournal();
      expect(ids(await replayed(journal))).toEqual(['call_a']);
      expect(files()).toEqual([`${name}.damaged`]);
      expect(await replayed(journal)).toEqual([]);
      expect(await replayed(await openJournal())).toEqual([]);
      const errors = logger.lines.filter(({ level }) => level === 'error');
      expect(errors).toEqual([expect.objectContaining({ fields: { file: `${file}.damaged` } })]);
    },
  );

  it('is replayed again when its operator has given it its name back', async () => {
    const journal = await openJournal();
    await journal.setAside([callEnd({ id: 'call_a' })]);
    expect([journal.size, ids(await replayed(journal))]).toEqual([0, []]);
    const [name] = files() as [string];
    renameSync(path.join(folder, name), path.join(folder, name.replace(/\.damaged$/, '')));
    expect(ids(await replayed(journal))).toEqual(['call_a']);
  });

  it('of another version is left alone', async () => {
    const journal = await openJournal();
    const { createHash } = await import('node:crypto');
    const line = (value: unknown): string =>
      `${createHash('sha256').update(JSON.stringify(value)).digest('hex')} ${JSON.stringify(value)}\n`;
    writeFileSync(path.join(folder, 'later.journal'), line({ weirJournal: 2, entries: 1 }) + line(callEnd()));
    expect(await replayed(journal)).toEqual([]);
    expect(await replayed(journal)).toEqual([]);
    expect(files()).toEqual(['later.journal']);
    expect(logger.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  });
});

describe('an unfinished file', () => {
  it('of a writer that died is settled as far as it can be read, and removed', async () => {
    mkdirSync(folder, { recursive: true });
    const content = encodeFile([callEnd({ id: 'call_a' }), callEnd({ id: 'call_b' })]);
    writeFileSync(path.join(folder, '2026-1-x.part'), content.subarray(0, content.length - 10));
    const journal = await openJournal();
    expect(journal.ids()).toEqual(['call_a']);
    expect(ids(await replayed(journal))).toEqual(['call_a']);
    expect(files()).toEqual([]);
    expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it("that appears later is somebody's at work, and is not touched", async () => {
    const journal = await openJournal();
    writeFileSync(path.join(folder, '2026-1-x.part'), encodeFile([callEnd()]));
    expect(await replayed(journal)).toEqual([]);
    expect(files()).toEqual(['2026-1-x.part']);
  });

  it("that another process takes for a dead writer's is written again", async () => {
    const journal = await openJournal();
    /** Takes the first unfinished file that it sees. false: it was finished before. */
    const take = async (): Promise<boolean> => {
      for (;;) {
        const seen = files();
        const part = seen.find((name) => name.endsWith('.part'));
        if (part) rmSync(path.join(folder, part), { force: true });
        if (part && !files().some((name) => name.endsWith('.journal'))) return true;
        if (seen.some((name) => name.endsWith('.journal'))) return false;
        await new Promise(setImmediate);
      }
    };
    for (let taken = false; !taken;) {
      await replayed(journal);
      [taken] = await Promise.all([take(), journal.write([callEnd({ id: 'call_a' })])]);
    }
    expect(files()).toEqual([expect.stringMatching(/\.journal$/)]);
    expect(ids(await replayed(journal))).toEqual(['call_a']);
  });
});

describe('the bounds', () => {
  it('refuses what is beyond them, and takes more when there is room again', async () => {
    const journal = await openJournal({ entries: 3, bytes: 1e6 });
    await journal.write([callEnd(), callEnd()]);
    await expect(journal.write([callEnd(), callEnd()])).rejects.toThrow('the journal is full: 3 entries');
    expect(journal.size).toBeLessThanOrEqual(3);
    await replayed(journal);
    await journal.write([callEnd(), callEnd()]);
    const small = await openJournal({ entries: 100, bytes: 2_000 });
    await expect(small.write([callEnd()])).rejects.toThrow('2000 bytes');
  });

  it('rejects where there cannot be a folder', async () => {
    mkdirSync(path.dirname(folder), { recursive: true });
    writeFileSync(folder, 'a file');
    const journal = new Journal({ home, database: 'test', logger });
    await expect(journal.open()).rejects.toThrow();
    await expect(journal.write([callEnd()])).rejects.toThrow();
    rmSync(folder);
    await journal.write([callEnd({ id: 'call_a' })]);
    expect(ids(await replayed(journal))).toEqual(['call_a']);
  });
});

describe('processes', () => {
  const support = path.join(__dirname, '..', '..', 'support');
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });
  /** Writes `count` ends, or for ever with 0. */
  const startProcess = (nr: number, count: number): ChildProcess => {
    const child = fork(path.join(support, 'journal-process.ts'), [home, String(nr), String(count)], {
      execArgv: ['-r', path.join(support, 'register-ts.js')],
    });
    children.push(child);
    return child;
  };

  it('two on one folder write and replay side by side: nothing is lost, nothing is in the way of the other', async () => {
    const both = await Promise.all(
      [0, 1].map(
        (nr) =>
          new Promise<{ settled: string[]; errors: number }>((resolve, reject) => {
            const child = startProcess(nr, 150);
            child.once('message', (message) => resolve(message as { settled: string[]; errors: number }));
            child.once('exit', (code) => reject(new Error(`exit ${code}`)));
          }),
      ),
    );
    const settled = new Set(both.flatMap((one) => one.settled));
    for (const end of await replayed(await openJournal())) settled.add(end.id);
    expect([...settled].sort()).toEqual(
      [0, 1].flatMap((nr) => Array.from({ length: 150 }, (_, i) => `call_${nr}_${String(i).padStart(3, '0')}`)),
    );
    expect(both.map(({ errors }) => errors)).toEqual([0, 0]);
    expect(files()).toEqual([]);
  });

  it('one that is killed while it writes has lost nothing that it had said to be kept', async () => {
    const child = startProcess(0, 0);
    const kept: string[] = [];
    await new Promise<void>((resolve) => {
      child.on('message', (id) => {
        kept.push(String(id));
        if (kept.length === 100) child.kill('SIGKILL');
      });
      child.once('exit', () => resolve());
    });
    const found = new Set(ids(await replayed(await openJournal())));
    expect(kept.length).toBeGreaterThanOrEqual(100);
    expect(kept.filter((id) => !found.has(id))).toEqual([]);
    expect(files()).toEqual([]);
  });
});
