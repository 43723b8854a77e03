import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readdir, readFile, rename, rm, unlink } from 'node:fs/promises';
import path from 'node:path';
import { Grouped } from '../../lib/grouped';
import type { Logger } from '../../lib/logger';
import { decodeFile, encodeFile } from './journal-file';
import type { Settlement } from '../../domain/call';

export interface JournalDeps {
  /** WEIR_HOME. */
  home: string;
  /** Names the database that the ends belong to: another one's journal in the same home is left alone. */
  database: string;
  logger: Logger;
  /**
   * What the folder may hold; default: 50,000 entries or 512 MB. Parallel calls keep it far below, as new ones are
   * refused while the database is away.
   */
  limits?: { entries: number; bytes: number };
}

const LIMITS = { entries: 50_000, bytes: 512 * 1024 * 1024 };
/** Entries of a file. An answer may be a megabyte, and a file is read as one piece. */
const FILE_ENTRIES = 64;
/** Ends that are given to the database together. */
const BATCH = 200;
const WHOLE = '.journal';
/** Being written, or left over from a writer that died: nobody was told that it is kept. */
const PART = '.part';
const DAMAGED = '.damaged';
/** Another process may take our unfinished file for a dead writer's while it starts. It does so once. */
const TRIES = 3;

interface OpenFile {
  name: string;
  ends: Settlement[];
  whole: boolean;
}

/**
 * Ends of calls that the database could not take, in files under `<home>/journal/<database>`. They hold conversations:
 * folder 0700, files 0600. One file per group of ends that came together; it has its name only when it is complete and
 * on the disk. Several processes may share the folder: each replays what it finds, and settling twice is harmless.
 */
export class Journal {
  private readonly folder: string;
  private readonly limits: { entries: number; bytes: number };
  /** What waits in the folder, as far as it was seen. */
  private readonly known = new Map<string, { ids: string[]; bytes: number }>();
  private readonly writing = { files: new Set<string>(), entries: 0, bytes: 0 };
  /** Unfinished files of writers before us. */
  private leftParts = new Set<string>();
  /** Not looked at again by this process: cannot be read, or is settled and cannot be removed. */
  private readonly leftAlone = new Set<string>();
  private readonly groups = new Grouped((ends: Settlement[]) => this.writeGroup(ends), { maxItems: FILE_ENTRIES });

  constructor(private readonly deps: JournalDeps) {
    this.folder = path.resolve(deps.home, 'journal', deps.database);
    this.limits = deps.limits ?? LIMITS;
  }

  /** Ends that wait in the folder. */
  get size(): number {
    return [...this.known.values()].reduce((sum, { ids }) => sum + ids.length, 0);
  }

  /** Their calls. */
  ids(): string[] {
    return [...this.known.values()].flatMap(({ ids }) => ids);
  }

  /** Makes the folder and looks what is in it. Rejects where it cannot be made or read. */
  async open(): Promise<void> {
    await this.makeFolder();
    await chmod(this.folder, 0o700);
    this.leftParts = new Set(
      (await readdir(this.folder)).filter((name) => name.endsWith(PART) && !this.writing.files.has(name)),
    );
    for (const name of await this.list()) await this.read(name);
  }

  /**
   * Resolves when the ends are on the disk: file and folder synced. Rejects where that cannot be, as with a full disk
   * or journal.
   */
  async write(ends: readonly Settlement[]): Promise<void> {
    await Promise.all(ends.map((end) => this.groups.add(end)));
  }

  /** Keeps ends that no database will take, where no replay finds them and an operator does. */
  async setAside(ends: readonly Settlement[]): Promise<string> {
    return path.join(this.folder, await this.writeFile(encodeFile(ends), `${WHOLE}${DAMAGED}`));
  }

  /**
   * Gives everything in the folder to `settle`, oldest first, and removes each file when all of it is settled. Rejects
   * with the first rejection of `settle`. Returns how many were settled.
   */
  async replay(settle: (ends: Settlement[]) => Promise<void>): Promise<number> {
    let settled = 0;
    let files: OpenFile[] = [];
    // By call: one may be in two files.
    let ends = new Map<string, Settlement>();
    const flush = async (): Promise<void> => {
      const all = [...ends.values()];
      for (let from = 0; from < all.length; from += BATCH) await settle(all.slice(from, from + BATCH));
      for (const file of files) await this.remove(file);
      settled += all.length;
      [files, ends] = [[], new Map()];
    };
    for (const name of await this.list()) {
      const file = await this.read(name);
      if (!file) continue;
      files.push(file);
      for (const end of file.ends) ends.set(end.id, end);
      if (ends.size >= BATCH) await flush();
    }
    await flush();
    return settled;
  }

  /** Files to replay, oldest first. What others removed is forgotten. */
  private async list(): Promise<string[]> {
    const before = [...this.known.keys()];
    const names = (await readdir(this.folder)).filter(
      (name) => (name.endsWith(WHOLE) || this.leftParts.has(name)) && !this.leftAlone.has(name),
    );
    const there = new Set(names);
    for (const name of before) if (!there.has(name)) this.known.delete(name);
    return names.sort();
  }

  /** null: it is gone, or left alone. */
  private async read(name: string): Promise<OpenFile | null> {
    const file = path.join(this.folder, name);
    let content: Buffer;
    try {
      content = await readFile(file);
    } catch (cause) {
      if (isMissing(cause)) this.known.delete(name);
      else this.leaveAlone(name, { err: cause }, 'a file of the journal cannot be read');
      return null;
    }
    const { ends, whole, foreignVersion } = decodeFile(content);
    if (foreignVersion !== null) {
      this.leaveAlone(
        name,
        { version: foreignVersion },
        'a file of the journal has a version that this release does not know',
      );
      return null;
    }
    this.known.set(name, { ids: ends.map(({ id }) => id), bytes: content.length });
    return { name, ends, whole };
  }

  /**
   * All of it is settled. What was damaged is kept for somebody to look at; an unfinished file has promised nothing.
   */
  private async remove({ name, whole }: OpenFile): Promise<void> {
    const file = path.join(this.folder, name);
    try {
      if (whole || name.endsWith(PART)) return await unlink(file);
      await rename(file, file + DAMAGED);
      this.deps.logger.error(
        { file: file + DAMAGED },
        'a file of the journal is damaged: what could be read of it is settled, and the file is kept',
      );
    } catch (cause) {
      // Another process was faster.
      if (!isMissing(cause))
        this.leaveAlone(name, { err: cause }, 'a file of the journal is settled and cannot be removed');
    } finally {
      this.known.delete(name);
    }
  }

  private leaveAlone(name: string, fields: object, why: string): void {
    this.known.delete(name);
    this.leftAlone.add(name);
    this.deps.logger.error({ file: path.join(this.folder, name), ...fields }, why);
  }

  private async writeGroup(ends: Settlement[]): Promise<void[]> {
    const content = encodeFile(ends);
    const bytes = [...this.known.values()].reduce((sum, file) => sum + file.bytes, this.writing.bytes + content.length);
    if (this.size + this.writing.entries + ends.length > this.limits.entries || bytes > this.limits.bytes) {
      throw new Error(`the journal is full: ${this.limits.entries} entries or ${this.limits.bytes} bytes`);
    }
    this.writing.entries += ends.length;
    this.writing.bytes += content.length;
    try {
      const name = await this.writeFile(content, WHOLE);
      this.known.set(name, { ids: ends.map(({ id }) => id), bytes: content.length });
    } finally {
      this.writing.entries -= ends.length;
      this.writing.bytes -= content.length;
    }
    return ends.map(() => undefined);
  }

  private async writeFile(content: Buffer, ending: string): Promise<string> {
    for (let attempt = 1; ; attempt += 1) {
      await this.makeFolder();
      // Sorted by name is sorted by time.
      const base = `${new Date().toISOString().replaceAll(':', '')}-${process.pid}-${randomBytes(6).toString('hex')}`;
      const part = path.join(this.folder, base + PART);
      this.writing.files.add(base + PART);
      try {
        await writeSynced(part, content);
        await rename(part, path.join(this.folder, base + ending));
        await syncFolder(this.folder);
        return base + ending;
      } catch (cause) {
        await rm(part, { force: true }).catch(() => {});
        if (!isMissing(cause) || attempt === TRIES) throw cause;
      } finally {
        this.writing.files.delete(base + PART);
      }
    }
  }

  private async makeFolder(): Promise<void> {
    const made = await mkdir(this.folder, { recursive: true, mode: 0o700 });
    if (!made) return;
    // A new folder is on the disk when those above it know of it.
    for (let above = path.dirname(this.folder); ; above = path.dirname(above)) {
      // A folder that may be passed through and not read cannot be synced.
      await syncFolder(above).catch((cause: unknown) => {
        if ((cause as { code?: unknown }).code !== 'EACCES') throw cause;
      });
      if (above.length < made.length) return;
    }
  }
}

async function writeSynced(file: string, content: Buffer): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A new name in a folder outlives a power cut only when the folder is synced too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const isMissing = (error: unknown): boolean => (error as { code?: unknown }).code === 'ENOENT';
