import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Admission, NewCall, Settlement } from '../../../src/domain/call';
import { Program } from './compile';
import type { Command, Failed, Reply } from './replica';

export class ReplicaDied extends Error {}

/** Compiled already where this file is, as in bench/dist; else by need. */
const BUILT = path.join(__dirname, 'replica.js');
const program = new Program(path.join(__dirname, 'replica.ts'));

/** A replica's process, seen from the test. What it was asked when it died fails with `ReplicaDied`. */
export class Replica {
  private readonly asked = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  private last = 0;
  private isDead = false;
  readonly exited: Promise<void>;

  private constructor(
    /** Its `application_name`, and the owner of its calls. */
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    child.on('message', (reply: Reply) => {
      this.asked.get(reply.nr)?.resolve(reply);
      this.asked.delete(reply.nr);
    });
    this.exited = new Promise((resolve) => {
      child.once('exit', () => {
        this.isDead = true;
        for (const { reject } of this.asked.values()) reject(new ReplicaDied(this.name));
        resolve();
      });
    });
  }

  static async start(url: string, name: string): Promise<Replica> {
    const isBuilt = existsSync(BUILT);
    const child = fork(isBuilt ? BUILT : program.use(), [url, name], {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { PATH: process.env.PATH },
    });
    if (!isBuilt) child.once('exit', () => program.release());
    const replica = new Replica(name, child);
    await replica.reply(0);
    return replica;
  }

  async admit(calls: NewCall[], fault?: Command['fault']): Promise<(Admission | Failed)[]> {
    return (await this.ask({ do: 'admit', calls }, fault)).admissions!;
  }

  async settle(ends: Settlement[], fault?: Command['fault']): Promise<string[]> {
    return (await this.ask({ do: 'settle', ends }, fault)).ids!;
  }

  async correct(ends: Settlement[], reason: string, fault?: Command['fault']): Promise<string[]> {
    return (await this.ask({ do: 'correct', ends, reason }, fault)).ids!;
  }

  /** When Postgres has finished what a cut connection had sent. */
  async finish(): Promise<void> {
    await this.ask({ do: 'finish' });
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    if (!this.isDead && this.child.connected) this.child.disconnect();
    await this.exited;
  }

  private async ask(work: Command['work'], fault?: Command['fault']): Promise<Reply> {
    const nr = (this.last += 1);
    const reply = this.reply(nr);
    if (!this.isDead)
      this.child.send(
        { nr, fault, work } satisfies Command,
        (error) => error && this.asked.get(nr)?.reject(new ReplicaDied(this.name)),
      );
    const { failed } = await reply;
    if (failed) throw Object.assign(new Error(`${this.name}: ${failed.failed}`), { code: failed.code });
    return reply;
  }

  private reply(nr: number): Promise<Reply> {
    if (this.isDead) return Promise.reject(new ReplicaDied(this.name));
    return new Promise((resolve, reject) => this.asked.set(nr, { resolve, reject }));
  }
}
