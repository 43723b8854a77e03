import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { openEmbedded, type LaunchDatabase } from '../../../launch/database';
import { startPostgres } from '../../../launch/postgres';
import { createProgress } from '../../../launch/progress';
import { ensureSecrets, type HomeSecrets } from '../../../launch/secrets';
import { Shutdown } from '../../../launch/shutdown';
import { asAdmin } from '../../support/database';
import { EARLIER_INSTALLATION, EARLIER_SCHEMA } from '../../support/earlier-release';

let home: string;
let secrets: HomeSecrets;
beforeEach(() => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-earlier-'));
  ({ secrets } = ensureSecrets(home));
});
afterEach(() => fs.rmSync(home, { recursive: true }));

const inHome = (...parts: string[]): string => path.join(home, ...parts);

/**
 * Opens the database of the folder as `npm start` does, and gives what it said, once the work is done and everything
 * has ended.
 */
async function opened(work: (database: LaunchDatabase) => Promise<void> = async () => {}): Promise<string> {
  let output = '';
  const progress = createProgress({ write: (text) => void (output += text) });
  const shutdown = new Shutdown({ progress, exit: () => {} });
  try {
    await work(await openEmbedded({ home, secrets, resetPassword: false, progress, shutdown }));
  } finally {
    await shutdown.stop(0);
  }
  return output;
}
const makeEarlier = (): Promise<string> =>
  opened(async ({ url, litellmUrl }) => {
    await asAdmin(url, EARLIER_SCHEMA);
    await asAdmin(litellmUrl!, 'CREATE TABLE keys AS SELECT 42 AS answer');
  });
function writeJournal(installation: string): void {
  fs.mkdirSync(inHome('journal', installation), { recursive: true });
  fs.writeFileSync(inHome('journal', installation, 'one.journal'), installation);
}
async function query(url: string, sql: string): Promise<any[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
const tablesIn = async (url: string): Promise<string[]> =>
  (await query(url, `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)).map(
    ({ tablename }) => tablename,
  );
/** The plans of Weir's database and the answer of LiteLLM's, in a folder that was kept aside. */
async function readKept(folder: string): Promise<unknown[]> {
  const server = await startPostgres({ folder: inHome(folder), password: secrets.postgresPassword });
  try {
    const [plans, keys] = [
      server.url('weir', secrets.weirDatabasePassword),
      server.url('litellm', secrets.litellmDatabasePassword),
    ];
    return [...(await query(plans, 'SELECT id FROM plans')), ...(await query(keys, 'SELECT answer FROM keys'))];
  } finally {
    await server.stop();
  }
}
const OLD_ROWS = [{ id: 'an old plan' }, { answer: 42 }];

test('data of 0.1.0 is kept aside, readable with the same passwords, with its journal; a new database begins, and the journal of another one stays', async () => {
  expect(await makeEarlier()).not.toContain('.old');
  for (const installation of [EARLIER_INSTALLATION, 'another1']) writeJournal(installation);
  const output = await opened(async ({ url, litellmUrl }) => {
    expect(await tablesIn(url)).toEqual([]);
    expect(await tablesIn(litellmUrl!)).toEqual([]);
  });
  for (const text of [
    'data of Weir 0.1.0',
    inHome('postgres.old'),
    "LiteLLM's",
    inHome('journal.old', EARLIER_INSTALLATION),
    'docs/releases.md',
  ])
    expect(output).toContain(text);
  expect(await readKept('postgres.old')).toEqual(OLD_ROWS);
  expect(fs.readdirSync(inHome('journal.old', EARLIER_INSTALLATION))).toEqual(['one.journal']);
  expect(fs.readdirSync(inHome('journal'))).toEqual(['another1']);
  expect(ensureSecrets(home)).toEqual({ secrets, made: [] });
  // The new one is nobody's earlier data.
  expect(await opened()).not.toContain('.old');
});

test('what was kept before is not touched: the next one has another name', async () => {
  fs.mkdirSync(inHome('postgres.old'));
  fs.mkdirSync(inHome('journal.old', EARLIER_INSTALLATION), { recursive: true });
  await makeEarlier();
  writeJournal(EARLIER_INSTALLATION);
  await opened();
  expect(fs.readdirSync(inHome('postgres.old'))).toEqual([]);
  expect(await readKept('postgres.old.2')).toEqual(OLD_ROWS);
  expect(fs.readdirSync(inHome('journal.old')).sort()).toEqual([EARLIER_INSTALLATION, `${EARLIER_INSTALLATION}.2`]);
});

test('a start that was killed between the journal and the database is finished by the next one, which names both', async () => {
  await makeEarlier();
  fs.mkdirSync(inHome('journal.old', EARLIER_INSTALLATION), { recursive: true });
  fs.writeFileSync(inHome('journal.old', EARLIER_INSTALLATION, 'one.journal'), '');
  const output = await opened(async ({ url }) => expect(await tablesIn(url)).toEqual([]));
  expect(output).toContain(inHome('journal.old', EARLIER_INSTALLATION));
  expect(await readKept('postgres.old')).toEqual(OLD_ROWS);
});

test('a start that was killed before the new database was made makes it', async () => {
  await makeEarlier();
  fs.renameSync(inHome('postgres'), inHome('postgres.old'));
  fs.mkdirSync(inHome('postgres/data.new'), { recursive: true });
  await opened(async ({ url }) => expect(await tablesIn(url)).toEqual([]));
  expect(await readKept('postgres.old')).toEqual(OLD_ROWS);
});

test('a start that was killed while the old server ran stops that server first', async () => {
  await makeEarlier();
  const orphan = await startPostgres({ folder: inHome('postgres'), password: secrets.postgresPassword });
  await opened(async ({ url }) => expect(await tablesIn(url)).toEqual([]));
  await orphan.exited;
  expect(await readKept('postgres.old')).toEqual(OLD_ROWS);
});
