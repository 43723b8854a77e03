import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../../launch/ports';
import { startAppProcess, type AppProcess } from '../app-process';
import { createTestDatabase, type TestDatabase } from '../database';
import type { TestUser } from '../factories';
import { openBooks } from '../ledger/books';
import { Program } from '../ledger/compile';
import { startProvider, type FakeProvider } from '../provider';
import { TcpFront } from '../tcp-front';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import { NETWORKS } from './stream-plan';
import type { Door } from './stream-watcher';
import { appendPrice } from '../prices';

export interface LaneOptions {
  replicas: number;
  /** How many streams will run on it: each has a model of its own. */
  streams: number;
  /** Of what the replicas share beside the database. */
  env?: Record<string, string>;
  /** Something wrong that is built into the replicas, for tests of the tests. */
  mistake?: Mistake;
}

/** A text in a source file, and what stands there instead. */
export interface Mistake {
  file: string;
  remedy: string;
  mistake: string;
}

function programWith(mistake: Mistake | undefined): Program {
  return new Program(MAIN, (file, text) => {
    if (file !== mistake?.file) return text;
    if (text.split(mistake.remedy).length !== 2) throw new Error(`${file} has no or more than one ${mistake.remedy}`);
    return text.replace(mistake.remedy, () => mistake.mistake);
  });
}

const MAIN = path.join(__dirname, '..', '..', '..', 'src', 'main.ts');
/** Long enough to come back from most outages, and short enough that some streams are left. Milliseconds. */
const GRACE_MS = 400;
const DEAD_AFTER_MS = 1_500;

/** A place for a replica: who is started there has the address and the folder of the one before, as after a crash. */
class ReplicaSlot {
  private readonly home = mkdtempSync(path.join(os.tmpdir(), 'weir-replica-'));
  private running: AppProcess | null = null;

  constructor(
    private readonly port: number,
    private readonly env: Record<string, string>,
    private readonly compiled: string,
  ) {}

  /** null while nobody serves. */
  get url(): string | null {
    return this.running?.url ?? null;
  }

  async start(): Promise<void> {
    this.running = await startAppProcess({ ...this.env, PORT: String(this.port), WEIR_HOME: this.home }, this.compiled);
  }

  async kill(): Promise<void> {
    const dying = this.running;
    this.running = null;
    await dying?.kill();
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.home, { recursive: true, force: true });
  }
}

/**
 * Replicas that are processes of their own, with an upstream and a database, and networks between them and their
 * viewers.
 */
export class StreamLane {
  private readonly doors = Array.from({ length: NETWORKS }, () => new Set<Door>());
  private readonly away = new Set<number>();
  private readonly starts = new Set<Promise<void>>();

  private constructor(
    readonly slots: readonly ReplicaSlot[],
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    readonly users: readonly TestUser[],
    private readonly program: Program,
  ) {}

  static async open({ replicas, streams, env, mistake }: LaneOptions): Promise<StreamLane> {
    const database = await createTestDatabase();
    const models = Array.from({ length: streams }, (_, index) => `s-${index}`);
    const provider = await startProvider({ models: models.map((id) => ({ id })) });
    const { users } = await openBooks(database.db, 3);
    for (const [index, model] of models.entries())
      await appendPrice(database.db, { number: index + 2, model, rates: { input: '0.0000031', output: '0.0000107' } });
    const common = {
      DATABASE_URL: database.url,
      LLM_BASE_URL: provider.url,
      WEIR_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
      EXPLORER: 'false',
      OWNER_DEAD_AFTER_MS: String(DEAD_AFTER_MS),
      STREAM_GRACE_MS: String(GRACE_MS),
      ...env,
    };
    const program = programWith(mistake);
    const compiled = program.use();
    const slots: ReplicaSlot[] = [];
    for (let index = 0; index < replicas; index += 1) slots.push(new ReplicaSlot(await freePort(), common, compiled));
    const lane = new StreamLane(slots, database, provider, users, program);
    try {
      await Promise.all(slots.map((slot) => slot.start()));
    } catch (error) {
      await lane.close();
      throw error;
    }
    return lane;
  }

  /** SIGKILL; another one is started in its place at once. */
  async kill(replica: number): Promise<void> {
    const slot = this.slots[replica]!;
    await slot.kill();
    const start = slot.start();
    this.starts.add(start);
    void start.finally(() => this.starts.delete(start)).catch(() => {});
  }

  /** A network takes its viewers' connections with it. */
  async outage(network: number, awayMs: number): Promise<void> {
    this.away.add(network);
    for (const door of this.doors[network]!) door.cut();
    await new Promise((resolve) => setTimeout(resolve, awayMs));
    this.away.delete(network);
  }

  /** The address of a replica that serves. `prefer` is taken when it does. */
  async address(prefer: number): Promise<string> {
    return waitFor(() => this.slots[prefer]!.url ?? this.slots.find(({ url }) => url !== null)?.url, {
      deadlineMs: SLOW_DEADLINE_MS,
      what: 'a replica that serves',
    });
  }

  async door(network: number, prefer: number): Promise<Door> {
    await waitFor(() => !this.away.has(network), { what: 'the network' });
    const front = await TcpFront.start(await this.address(prefer));
    const door: Door = {
      url: front.url,
      cut: () => (front.away = true),
      freeze: () => front.freeze(),
      close: async () => {
        this.doors[network]!.delete(door);
        await front.stop();
      },
    };
    this.doors[network]!.add(door);
    return door;
  }

  /** All replicas serve. */
  async settled(): Promise<void> {
    await Promise.all(this.starts);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.starts);
    await Promise.all(this.slots.map((slot) => slot.close()));
    this.program.release();
    await this.provider.close();
    await this.database.close();
  }
}
