import fs from 'node:fs';
import path from 'node:path';
import { commandLine, isAlive, stopProcess } from './processes';

/**
 * After `kill -9` of its parent a Postgres goes on alone, and after a kill of everything its pid file stays and may
 * name a stranger by now.
 * The first is stopped, the second removed. The caller holds the lock of the folder, so nobody else uses this server.
 */
export async function stopStalePostgres(data: string, onNotice?: (text: string) => void): Promise<void> {
  const pidFile = path.join(data, 'postmaster.pid');
  if (!fs.existsSync(pidFile)) return;
  const pid = Number(fs.readFileSync(pidFile, 'utf8').split('\n')[0]);
  if (isAlive(pid) && serves(pid, data)) {
    onNotice?.(`stopping the database that an earlier start left running (pid ${pid})`);
    const gone = await stopProcess(pid, [
      ['SIGINT', 10_000],
      ['SIGQUIT', 5_000],
      ['SIGKILL', 2_000],
    ]);
    if (!gone) throw new Error(`A Postgres of an earlier start (pid ${pid}) does not stop. Stop it, then start again.`);
  }
  fs.rmSync(pidFile, { force: true });
}

function serves(pid: number, data: string): boolean {
  const command = commandLine(pid);
  // Where the system does not tell command lines, better stop nothing of others: Postgres itself then refuses a folder
  // in use.
  return command !== null && command.includes('postgres') && command.includes(data);
}
