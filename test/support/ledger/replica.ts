import { Pool } from 'pg';
import type { Db } from '../../../src/database/pool';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import type { Admission, NewCall, Settlement } from '../../../src/domain/call';

/**
 * A replica that does nothing but the ledger's work: a process with the product's LedgerStore on the product's kind of
 * connections, and commands by IPC. It comes up in a tenth of a second (no TypeORM, no doors), so that a test can kill
 * as many as it likes.
 */
export interface Command {
  nr: number;
  /** What goes wrong while it is carried out. */
  fault?: ReplicaFault;
  work:
    | { do: 'admit'; calls: NewCall[] }
    | { do: 'settle'; ends: Settlement[] }
    | { do: 'correct'; ends: Settlement[]; reason: string }
    | /** Waits for what it has sent and was told nothing of. */ { do: 'finish' };
}
/**
 * BEFORE, ANSWERED: the process kills itself before a statement is sent, behind its answer. LOST, CUT: it lives on, and
 * the first statement's connection breaks when the answer is on its way, or while Postgres works.
 */
export type ReplicaFault = 'BEFORE' | 'ANSWERED' | 'LOST' | 'CUT';
export interface Failed {
  failed: string;
  code: string | null;
}
/** `admit` answers call by call, in their order. */
export interface Reply {
  nr: number;
  admissions?: (Admission | Failed)[];
  ids?: string[];
  failed?: Failed;
}

// As src/database/pool.ts has them.
const SESSION =
  '-c TimeZone=UTC -c search_path=public -c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan';

const dieNow = (): never => {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('still alive');
};
const failure = (error: unknown): Failed => ({
  failed: (error as Error).message,
  code: (error as { code?: string }).code ?? null,
});

function run(url: string, name: string): void {
  const pool = new Pool({
    connectionString: url,
    max: 4,
    application_name: name,
    options: SESSION,
    statement_timeout: 120_000,
  });
  // A connection that a test cuts is no news.
  pool.on('error', () => {});
  let fault: Command['fault'];
  const cut: Promise<unknown>[] = [];
  const query = async (config: { name?: string; text: string; values: unknown[] }): Promise<never> => {
    if (fault === 'BEFORE') dieNow();
    const breaks = fault === 'LOST' || fault === 'CUT' ? fault : null;
    if (breaks) fault = undefined;
    const answer = pool.query(config);
    // As pg says it. What Postgres was sent it finishes.
    if (breaks === 'LOST') await answer;
    if (breaks) {
      cut.push(answer.catch(() => {}));
      throw new Error('Connection terminated unexpectedly');
    }
    const { rows } = await answer;
    if (fault === 'ANSWERED') dieNow();
    return rows as never;
  };
  const db: Pick<Db, 'hot' | 'query'> = {
    hot: (statement, text, values) => query({ name: statement, text, values: [...values] }),
    query: (text, values = []) => query({ text, values: [...values] }),
  };
  const store = new LedgerStore(db as Db);

  async function carryOut({ work }: Command): Promise<Omit<Reply, 'nr'>> {
    if (work.do === 'settle') return { ids: await store.settle(work.ends) };
    if (work.do === 'finish') {
      await Promise.all(cut.splice(0));
      return {};
    }
    if (work.do === 'correct') return { ids: await store.correct(work.ends, work.reason) };
    // One by one, in one tick: a call that fails takes no other one's answer with it, and what queues shares a
    // statement.
    return {
      admissions: await Promise.all(work.calls.map((call) => store.admit([call]).then(([one]) => one!, failure))),
    };
  }
  process.on('message', (command: Command) => {
    fault = command.fault;
    void carryOut(command)
      .catch((error: unknown) => ({ failed: failure(error) }))
      .then((reply) => process.send!({ nr: command.nr, ...reply } satisfies Reply));
  });
  // Whoever started it is gone.
  process.on('disconnect', () => process.exit(0));
  process.send!({ nr: 0 } satisfies Reply);
}

run(process.argv[2]!, process.argv[3]!);
