import { randomUUID } from 'node:crypto';
import { newId } from '../../../src/lib/ids';
import { LedgerStore } from '../../../src/services/ledger/ledger.store';
import type { NewCall } from '../../../src/domain/call';
import { plausible } from '../../../src/services/ledger/bound';
import { CheckpointStore, type NewCheckpoint } from '../../../src/services/recovery/checkpoint.store';
import { OwnersStore } from '../../../src/services/recovery/owners.store';
import { Recovery, type RecoveryDeps } from '../../../src/services/recovery/recovery';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import {
  isPaidBy,
  type CallOwner,
  type RecordPayer,
  type SpendRecord,
  type SpendRecords,
} from '../../../src/services/upstream/litellm/spend-record';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { callFacts } from '../../support/call-ends';

/** Dollars: a token of the prompt costs one, a token of the answer a hundred. */
export const RATES = { input: '1', output: '100' };
export const record = (fields: Partial<SpendRecord> & { prompt?: number; output?: number } = {}): SpendRecord => ({
  servedModel: 'm',
  deployment: 'm-1',
  attempts: 1,
  raw: { prompt_tokens: 7 },
  cost: '0.5',
  serviceTier: null,
  fromCache: false,
  tokens: {
    uncachedPrompt: fields.prompt ?? 7,
    cacheRead: 0,
    cacheWrite: 0,
    cacheWriteOneHour: 0,
    output: fields.output ?? 5,
    reasoning: 0,
  },
  ...fields,
});

/** The proxy's records, as a test says that they are. */
export class FakeRecords implements SpendRecords {
  readonly byCall = new Map<string, SpendRecord>();
  /** Who paid; of others the key of the call's user. */
  readonly payers = new Map<string, RecordPayer>();
  readonly asked: string[] = [];
  /** Milliseconds; null: none. */
  newestAgeMs: number | null = null;
  away = false;
  onNewest: () => void = () => {};

  async spendRecord(callId: string, owner: CallOwner): Promise<SpendRecord | null> {
    this.asked.push(callId);
    if (this.away) throw new Error('the proxy is away');
    const payer = this.payers.get(callId);
    return payer && !isPaidBy(payer, owner) ? null : (this.byCall.get(callId) ?? null);
  }
  async newestRecordAgeMs(): Promise<number | null> {
    if (this.away) throw new Error('the proxy is away');
    this.onNewest();
    return this.newestAgeMs;
  }
}

export interface TestRecovery {
  recovery: Recovery;
  running: Set<string>;
  pending: Set<string>;
  logger: ReturnType<typeof memoryLogger>;
  die(): void;
}

export class RecoveryScene {
  readonly store: LedgerStore;
  readonly owners: OwnersStore;
  readonly checkpointStore: CheckpointStore;
  readonly records = new FakeRecords();

  private constructor(
    readonly database: TestDatabase,
    readonly world: World,
  ) {
    this.store = new LedgerStore(database.db);
    this.owners = new OwnersStore(database.db);
    this.checkpointStore = new CheckpointStore(database.db);
  }

  static async create(): Promise<RecoveryScene> {
    const database = await createTestDatabase();
    return new RecoveryScene(database, await createWorld(database.db));
  }

  get db(): TestDatabase['db'] {
    return this.database.db;
  }

  /** Writes a call down, as admission does. */
  async admit(fields: Partial<NewCall> = {}): Promise<NewCall & { occurredAt: string }> {
    const { member } = this.world;
    const call: NewCall = {
      ...callFacts({ maxTokens: 5_000 }),
      id: newId('call'),
      organizationId: member.organizationId,
      userId: member.id,
      tokenId: null,
      projectId: null,
      agent: null,
      scenario: 'DEFAULT',
      traceId: 'a'.repeat(32),
      model: 'm',
      upstream: 'DIRECT',
      streamed: true,
      owner: 'gone',
      deadlineMs: 600_000,
      question: null,
      idempotency: null,
      ...fields,
    };
    const [admission] = await this.store.admit([call]);
    if (admission!.kind !== 'ADMITTED') throw new Error(admission!.kind);
    return { ...call, occurredAt: admission!.occurredAt };
  }

  /** Nobody waits half a minute here. */
  async declareDead(owner = 'gone'): Promise<void> {
    await this.db.query(
      'INSERT INTO owners (id, dead_at) VALUES ($1, weir.now()) ON CONFLICT (id) DO UPDATE SET dead_at = weir.now()',
      [owner],
    );
  }

  async budget(limit = '1000000'): Promise<string> {
    const { member } = this.world;
    const id = newId('budget');
    await this.db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, 'USER', $3, 'MONTH', $4)`,
      [id, member.organizationId, member.id, limit],
    );
    return id;
  }

  async period(budgetId: string): Promise<{ spent: number; held: number; overage: number }> {
    const [row] = await this.db.query<Record<string, string>>(
      'SELECT spent, held, overage FROM budget_periods WHERE budget_id = $1',
      [budgetId],
    );
    return { spent: Number(row!.spent), held: Number(row!.held), overage: Number(row!.overage) };
  }

  checkpoint(callId: string, fields: Partial<NewCheckpoint> = {}): Promise<void> {
    return this.checkpointStore.write([
      {
        organizationId: this.world.organizationId,
        callId,
        number: 1,
        content: 'Half an ans',
        reasoning: '',
        tools: '',
        firstSeq: 2,
        lastSeq: 2,
        pieces: [11],
        completionTokens: 3,
        servedModel: null,
        deployment: null,
        ...fields,
      },
    ]);
  }

  /** All rows of a call, its corrections included, in the order in which they were made. */
  usage(callId: string): Promise<any[]> {
    return this.db.query(
      'SELECT * FROM llm_usage WHERE coalesce(corrects_id, id) = $1 ORDER BY correction, kind DESC',
      [callId],
    );
  }

  async isInFlight(callId: string): Promise<boolean> {
    return (await this.db.query('SELECT FROM calls_in_flight WHERE id = $1', [callId])).length > 0;
  }

  /** Another process, for which everything happens at once. */
  recovery(
    options: Partial<Pick<RecoveryDeps, 'timing' | 'owner' | 'lookEveryMs' | 'store' | 'keptMs'>> & {
      direct?: boolean;
    } = {},
  ): TestRecovery {
    const running = new Set<string>();
    const pending = new Set<string>();
    const logger = memoryLogger();
    let die = (): void => {};
    const recovery = new Recovery({
      store: options.store ?? new RecoveryStore(this.db),
      calls: new LedgerStore(this.db),
      liveness: { onDeath: (listener) => void (die = listener) },
      records: options.direct ? null : this.records,
      prices: {
        number: 1,
        forCall: (model, deployment) => ({
          number: 1,
          model,
          deployment,
          organizationId: null,
          source: 'PROXY',
          effectiveFrom: new Date(0),
          effectiveTo: null,
          recordedAt: new Date(0),
          serviceTier: null,
          rates: RATES,
        }),
      },
      modelOf: () => null,
      plausible,
      isRunning: (id) => running.has(id),
      pendingIds: () => pending,
      owner: options.owner ?? `me-${randomUUID()}`,
      logger,
      lookEveryMs: options.lookEveryMs,
      keptMs: options.keptMs ?? 0,
      timing: { recordDelayMs: 0, directDelayMs: 0, nobodysForMs: 0, ...options.timing },
    });
    return { recovery, running, pending, logger, die: () => die() };
  }
}

/** A conversation with a question, as a call names it. */
export async function question(scene: RecoveryScene): Promise<NonNullable<NewCall['question']>> {
  const { member } = scene.world;
  const conversationId = newId('conversation');
  await scene.db.query('INSERT INTO conversations (id, organization_id, user_id) VALUES ($1, $2, $3)', [
    conversationId,
    member.organizationId,
    member.id,
  ]);
  return {
    conversationId,
    parentId: null,
    branchIds: [],
    messages: [
      {
        id: newId('message'),
        role: 'USER',
        content: 'Why?',
        reasoning: null,
        parts: null,
        toolCalls: null,
        toolCallId: null,
        name: null,
      },
    ],
  };
}
