import { createHash, randomInt } from 'node:crypto';
import { openDatabase, type Db } from '../../src/database/pool';
import { migrate } from '../../src/database/migrate';
import { newId } from '../../src/lib/ids';
import { LedgerStore, type CallGroup } from '../../src/services/ledger/ledger.store';
import type { AdmittedCall, NewCall, Settlement } from '../../src/domain/call';
import { createWorld, type World } from '../../test/support/factories';
import { benchFacts } from './facts';

/** Connections. */
export const POOL = 10;

export interface Scene {
  db: Db;
  store: LedgerStore;
  world: World;
  projectId: string;
  budgetIds: string[];
}

/** Four budgets that every call is held at: organisation, project, user, token. */
export async function prepare(url: string, onGroup?: (group: CallGroup) => void): Promise<Scene> {
  await migrate({ url });
  const db = await openDatabase({ url, poolSize: POOL }, () => {});
  const world = await createWorld(db, { name: 'Bench' });
  const projectId = newId('project');
  await db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
    projectId,
    world.organizationId,
    'Bench',
  ]);
  const budgetIds: string[] = [];
  for (const [scope, subject] of [
    ['ORGANIZATION', world.organizationId],
    ['PROJECT', projectId],
    ['USER', world.member.id],
    ['API_TOKEN', world.member.tokenId],
  ]) {
    const id = newId('budget');
    await db.query(
      'INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, $3, $4, $5, 1000000000)',
      [id, world.organizationId, scope, subject, 'MONTH'],
    );
    budgetIds.push(id);
  }
  return { db, store: new LedgerStore(db, null, onGroup), world, projectId, budgetIds };
}

/** Made before anything is measured: drawing one takes as long as a tenth of an admission. */
const AMOUNTS = Array.from({ length: 1_000 }, () => `0.00${randomInt(100_000, 999_999)}`);
let drawn = 0;
export const dollars = (): string => AMOUNTS[(drawn += 1) % AMOUNTS.length]!;

const INPUT_HASH = createHash('sha256').update('a question').digest('hex');

export function newCall({ world, projectId }: Scene): NewCall {
  const id = newId('call');
  return {
    ...benchFacts(dollars()),
    id,
    organizationId: world.organizationId,
    userId: world.member.id,
    tokenId: world.member.tokenId,
    projectId,
    agent: null,
    scenario: 'DEFAULT',
    traceId: '0'.repeat(32),
    model: 'bench',
    upstream: 'DIRECT',
    streamed: false,
    owner: 'bench',
    deadlineMs: 600_000,
    question: null,
    idempotency: { key: id, inputHash: INPUT_HASH },
  };
}

export function endOf({ world, projectId }: Scene, call: AdmittedCall): Settlement {
  const cost = dollars();
  return {
    id: call.id,
    occurredAt: call.occurredAt,
    organizationId: world.organizationId,
    userId: world.member.id,
    tokenId: world.member.tokenId,
    projectId,
    conversationId: null,
    agent: null,
    scenario: 'DEFAULT',
    traceId: '0'.repeat(32),
    streamed: false,
    model: 'bench',
    servedModel: 'bench',
    provider: 'bench',
    deployment: null,
    serviceTier: null,
    priceBook: 1,
    upstream: 'DIRECT',
    attempts: 1,
    status: 'COMPLETED',
    errorCode: null,
    finishReason: 'STOP',
    tokens: { uncachedPrompt: 100, cacheRead: 0, cacheWrite: 0, cacheWriteOneHour: 0, output: 50, reasoning: 0 },
    usageSource: 'PROVIDER',
    cacheUse: 'NO',
    cachedTokens: null,
    rawUsage: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 },
    priceNumber: 1,
    cost: { input: cost, cacheRead: '0', cacheWrite: '0', output: '0', reasoning: '0', request: '0', total: cost },
    proxyCost: null,
    latencyMs: 812,
    timeToFirstTokenMs: null,
    omittedMessages: 0,
    answer: null,
    heldOn: call.heldOn,
    facts: benchFacts(null),
    idempotency: null,
  };
}
