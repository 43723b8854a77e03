import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../database';
import { waitFor } from '../wait';
import { GATE, installProof } from './proof-schema';
import { Replica } from './replicas';

/**
 * A database of its own with replicas of its own, on which schedules run one after another. Who is killed is replaced;
 * the others live on.
 */
export class Lane {
  readonly replicas: Replica[] = [];
  private spare: Promise<Replica> | null = null;
  private started = 0;

  private constructor(
    readonly database: TestDatabase,
    /** Holds the gate: a connection of its own. */
    private readonly keeper: Client,
  ) {}

  static async open(replicas: number): Promise<Lane> {
    const database = await createTestDatabase({ poolSize: 4 });
    await installProof(database.db);
    const keeper = new Client({ connectionString: database.url });
    await keeper.connect();
    // A database that goes away is told by what asks for it.
    keeper.on('error', () => {});
    const lane = new Lane(database, keeper);
    lane.replicas.push(...(await Promise.all(Array.from({ length: replicas }, () => lane.start()))));
    lane.spare = lane.start();
    return lane;
  }

  get db(): TestDatabase['db'] {
    return this.database.db;
  }

  async setClock(at: string): Promise<void> {
    await this.db.query('UPDATE proof.clock SET at = $1', [at]);
  }

  /**
   * At the n-th failpoint that the victim's transactions reach from now on: its backend dies, or waits for the gate.
   */
  async arm(victim: Replica, hit: number, action: 'TERMINATE' | 'WAIT'): Promise<void> {
    if (action === 'WAIT') await this.keeper.query(`SELECT pg_advisory_lock(${GATE}, ${GATE})`);
    await this.db.query(
      `WITH counted AS (SELECT setval('proof.hits', 1, false)) INSERT INTO proof.failpoint SELECT $1, $2, $3 FROM counted`,
      [victim.name, hit, action],
    );
  }

  /** Gives whether the failpoint was reached. */
  async disarm(): Promise<boolean> {
    await this.keeper.query('SELECT pg_advisory_unlock_all()');
    const [row] = await this.db.query<{ reached: boolean } | undefined>(
      'WITH armed AS (DELETE FROM proof.failpoint RETURNING hit) SELECT is_called AND last_value >= hit AS reached FROM proof.hits, armed',
    );
    return row?.reached ?? false;
  }

  /** Whether a backend waits for the gate now. */
  async isGateReached(): Promise<boolean> {
    const { rows } = await this.keeper.query(
      `SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = ${GATE} AND objid = ${GATE} AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    return rows.length > 0;
  }

  /** What the dead one had sent is through, one way or the other; another process takes its place. */
  async replace(victim: Replica): Promise<void> {
    victim.kill();
    await victim.exited;
    const next = await this.spare!;
    this.spare = this.start();
    this.replicas[this.replicas.indexOf(victim)] = next;
    await waitFor(
      async () =>
        (
          await this.db.query(
            'SELECT FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()',
            [victim.name],
          )
        ).length === 0,
      { what: 'the connections of a dead replica to end' },
    );
  }

  async close(): Promise<void> {
    const spare = await this.spare;
    await Promise.all([...this.replicas, ...(spare ? [spare] : [])].map((replica) => replica.stop()));
    await this.keeper.end();
    await this.database.close();
  }

  private start(): Promise<Replica> {
    return Replica.start(this.database.url, `replica-${(this.started += 1)}`);
  }
}
