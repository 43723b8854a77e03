import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import { Program } from './compile';

/** As `npm run build` made it, where this file is compiled itself, as in bench/dist; else from the sources of now. */
const BUILT = __filename.endsWith('.js')
  ? path.join(__dirname, '..', '..', '..', '..', '..', 'dist', 'src', 'main.js')
  : null;
const program = new Program(path.join(__dirname, '..', '..', '..', 'src', 'main.ts'));

export interface ServerOptions {
  databaseUrl: string;
  upstreamUrl: string;
  /** Milliseconds without a renewal after which others take it for dead. */ deadAfterMs: number;
}

/** A place for a server: whoever is started there has the same WEIR_HOME as the one before, as after a crash. */
export class ServerSlot {
  private readonly home = mkdtempSync(path.join(os.tmpdir(), 'weir-slot-'));
  private child: ChildProcess | null = null;
  private output = '';
  /** Of the GraphQL endpoint; null while nobody serves. */
  url: string | null = null;

  private readonly main: string;

  constructor(private readonly options: ServerOptions) {
    if (BUILT && !existsSync(BUILT)) throw new Error('dist/src/main.js is missing: npm run build');
    this.main = BUILT ?? program.use();
  }

  async start(): Promise<void> {
    const { databaseUrl, upstreamUrl, deadAfterMs } = this.options;
    const child = spawn(process.execPath, [this.main], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_ENV: 'test',
        PORT: '0',
        DATABASE_URL: databaseUrl,
        LLM_BASE_URL: upstreamUrl,
        WEIR_HOME: this.home,
        WEIR_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
        EXPLORER: 'false',
        OWNER_DEAD_AFTER_MS: String(deadAfterMs),
        SHUTDOWN_TIMEOUT_MS: '5000',
      },
    });
    this.child = child;
    this.output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    const url = await waitFor(
      () => child.exitCode !== null || /"url":"([^"]+)"[^\n]*"msg":"serving"/.exec(this.output)?.[1],
      { deadlineMs: SLOW_DEADLINE_MS, what: 'a server to serve' },
    );
    if (url === true) throw new Error(`the server ended:\n${this.output}`);
    this.url = url;
  }

  /** SIGKILL: no goodbye to anybody. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** The whole log of the process that is or was here last. */
  log(): string {
    return this.output;
  }

  /** Stops the server in order, and removes its folder. */
  async close(): Promise<void> {
    await this.end('SIGTERM');
    if (!BUILT) program.release();
    rmSync(this.home, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.url = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }
}
