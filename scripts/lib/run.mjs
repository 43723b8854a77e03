import { spawn } from 'node:child_process';
import { root } from './paths.mjs';

/** A command that ended with something else than 0. `output` is what it printed, where it was not shown already. */
export class CommandFailed extends Error {
  constructor(command, how, output) {
    super(`${command} failed (${how})${output ? `\n${output.trim()}` : ''}`);
    this.name = 'CommandFailed';
  }
}

/**
 * Runs a program in the repository. `show`: its output goes to the terminal; else it is kept and told only when it
 * fails.
 */
export function run(file, args, { show = false, env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, env, stdio: show ? 'inherit' : ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
    // Without this, a signal to us alone would leave the command running.
    const forward = (signal) => {
      child.kill(signal);
      process.exitCode = 130;
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    const settle = (outcome) => {
      for (const signal of SIGNALS) process.off(signal, forward);
      outcome();
    };
    const name = [file, ...args].join(' ');
    child.once('error', (error) => settle(() => reject(new CommandFailed(name, error.message, output))));
    child.once('close', (code, signal) =>
      settle(() =>
        code === 0 ? resolve(output) : reject(new CommandFailed(name, signal ?? `exit code ${code}`, output)),
      ),
    );
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM'];

/** The npm that runs us, else the one on the PATH. */
export function npm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) return run(process.execPath, [cli, ...args], options);
  return run(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, options);
}
