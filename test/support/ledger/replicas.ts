import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Admission, CallEnd, NewCall } from '../../../src/services/chat/call.types';
import { compileProgram } from './compile';
import type { Command, Failed, Reply } from './replica';

export class ReplicaDied extends Error {}

let program: string | undefined;
/** Compiled already where this file is, as in bench/dist; else now. */
const replicaProgram = (): string => (program ??= existsSync(path.join(__dirname, 'replica.js')) ? path.join(__dirname, 'replica.js') : compileProgram(path.join(__dirname, 'replica.ts')));

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
    const child = fork(replicaProgram(), [url, name], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: { PATH: process.env.PATH } });
    const replica = new Replica(name, child);
    await replica.reply(0);
    return replica;
  }

  async admit(calls: NewCall[], die?: Command['die']): Promise<(Admission | Failed)[]> {
    return (await this.ask({ do: 'admit', calls }, die)).admissions!;
  }

  async settle(ends: CallEnd[], die?: Command['die']): Promise<string[]> {
    return (await this.ask({ do: 'settle', ends }, die)).ids!;
  }

  async correct(ends: CallEnd[], reason: string, die?: Command['die']): Promise<string[]> {
    return (await this.ask({ do: 'correct', ends, reason }, die)).ids!;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    if (!this.isDead && this.child.connected) this.child.disconnect();
    await this.exited;
  }

  private async ask(work: Command['work'], die?: Command['die']): Promise<Reply> {
    const nr = (this.last += 1);
    const reply = this.reply(nr);
    if (!this.isDead) this.child.send({ nr, die, work } satisfies Command, (error) => error && this.asked.get(nr)?.reject(new ReplicaDied(this.name)));
    const { failed } = await reply;
    if (failed) throw Object.assign(new Error(`${this.name}: ${failed.failed}`), { code: failed.code });
    return reply;
  }

  private reply(nr: number): Promise<Reply> {
    if (this.isDead) return Promise.reject(new ReplicaDied(this.name));
    return new Promise((resolve, reject) => this.asked.set(nr, { resolve, reject }));
  }
}
