import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { FolderInUse, takeLock } from '../../../launch/lock';
import { processIdentity } from '../../../launch/processes';

let home: string;
beforeEach(() => (home = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-lock-'))));
afterEach(() => fs.rmSync(home, { recursive: true }));
const lockFile = (): string => path.join(home, 'lock.json');

test('a second start on one folder is refused, and told the pid and the address of the first', async () => {
  const lock = await takeLock(home);
  lock.announce('http://127.0.0.1:4100/graphql');
  const refused = await takeLock(home).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(FolderInUse);
  expect((refused as Error).message).toContain(`pid ${process.pid}, serving http://127.0.0.1:4100/graphql`);
  lock.release();
});

test('a released lock can be taken again, and nothing is left of it', async () => {
  (await takeLock(home)).release();
  expect(fs.readdirSync(home)).toEqual([]);
  (await takeLock(home)).release();
});

test('the lock of a process that was killed is taken over', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  fs.writeFileSync(
    lockFile(),
    JSON.stringify({ pid: child.pid, identity: processIdentity(child.pid!), url: null, nonce: 'a' }),
  );
  await expect(takeLock(home)).rejects.toBeInstanceOf(FolderInUse);
  child.kill('SIGKILL');
  await once(child, 'exit');
  (await takeLock(home)).release();
});

test('a stranger who got the number of the dead process does not hold the lock', async () => {
  fs.writeFileSync(
    lockFile(),
    JSON.stringify({ pid: process.pid, identity: 'of an earlier boot', url: null, nonce: 'a' }),
  );
  (await takeLock(home)).release();
});

test.each(['', '{"pid":', 'null', '{"pid":"x"}'])(
  'a lock file that was cut off when it was written (%j) does not stand in the way',
  async (content) => {
    fs.writeFileSync(lockFile(), content);
    (await takeLock(home)).release();
  },
);

test('of many starts that find the same dead lock, exactly one gets it', async () => {
  fs.writeFileSync(lockFile(), JSON.stringify({ pid: 999_999_999, identity: null, url: null, nonce: 'dead' }));
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => takeLock(home)));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('releasing leaves the lock of a later holder alone', async () => {
  const lock = await takeLock(home);
  fs.writeFileSync(lockFile(), JSON.stringify({ pid: process.pid, identity: null, url: null, nonce: 'somebody else' }));
  lock.release();
  expect(fs.existsSync(lockFile())).toBe(true);
});
