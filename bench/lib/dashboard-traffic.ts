import { randomInt } from 'node:crypto';
import type { Db } from '../../src/database/pool';
import { newId } from '../../src/lib/ids';
import { LedgerStore } from '../../src/services/ledger/ledger.store';
import type { AdmittedCall, NewCall, Settlement } from '../../src/domain/call';
import { idOf, models, PLAN_ID } from './dashboard-shape';
import { benchFacts } from './facts';

/**
 * Organisations of their own, so that what they leave in the cubes can be taken out again; sizes by Zipf, a dozen
 * models each, as all the others.
 */
const ORGANIZATIONS = 200;
const USERS_EACH = 20;
const PROJECTS_EACH = 3;
const FIRST = 1_000_000;
export const LOAD_MODEL = 'load/';

interface Place {
  organizationId: string;
  users: { id: string; tokenId: string }[];
  projects: string[];
  models: string[];
}
export interface Traffic {
  admit(count: number): Promise<AdmittedCall[]>;
  settle(call: AdmittedCall): Promise<void>;
  store: LedgerStore;
}

export const loadOrganizations = Array.from({ length: ORGANIZATIONS }, (_, i) => idOf('org', FIRST + i));

const places: Place[] = loadOrganizations.map((organizationId, i) => ({
  organizationId,
  users: Array.from({ length: USERS_EACH }, (_, nth) => ({
    id: idOf('usr', FIRST + i * USERS_EACH + nth),
    tokenId: idOf('tok', FIRST + i * USERS_EACH + nth),
  })),
  projects: Array.from({ length: PROJECTS_EACH }, (_, nth) => idOf('prj', FIRST + i * PROJECTS_EACH + nth)),
  models: Array.from({ length: 12 }, (_, nth) => `${LOAD_MODEL}${models[(i * 7 + nth * 5) % models.length]!.id}`),
}));
const shares = (() => {
  const weights = places.map((_, i) => 1 / (i + 1));
  const sum = weights.reduce((a, b) => a + b, 0);
  let so = 0;
  return weights.map((weight) => (so += weight / sum));
})();

const pick = <T>(from: readonly T[]): T => from[randomInt(from.length)]!;
const placeOf = (): Place => {
  const draw = randomInt(1_000_000) / 1_000_000;
  return places[
    Math.min(
      ORGANIZATIONS - 1,
      shares.findIndex((share) => share > draw),
    )
  ]!;
};
const dollars = (): string => `0.00${randomInt(100_000, 999_999)}`;
const SCENARIOS = ['DEFAULT', 'DEFAULT', 'DEFAULT', 'BACKGROUND', 'THINK'] as const;

/** Calls of many organisations; four budgets hold each of them: its organisation's, project's, user's and token's. */
export async function startTraffic(db: Db): Promise<Traffic> {
  const every = (list: (place: Place) => readonly (readonly unknown[])[]): unknown[][] => {
    const rows = places.flatMap(list);
    return rows[0]!.map((_, column) => rows.map((row) => row[column]));
  };
  await db.query(
    'INSERT INTO organizations (id, name) SELECT i, i FROM unnest($1::text[]) AS i ON CONFLICT DO NOTHING',
    [loadOrganizations],
  );
  await db.query(
    `INSERT INTO users (id, organization_id, name, role, plan_id) SELECT i, o, 'Load', 'MEMBER', '${PLAN_ID}' FROM unnest($1::text[], $2::text[]) AS x(i, o) ON CONFLICT DO NOTHING`,
    every(({ organizationId, users }) => users.map(({ id }) => [id, organizationId])),
  );
  await db.query(
    `INSERT INTO api_tokens (organization_id, id, user_id, name, hash, hint) SELECT o, t, u, 'Load', sha256(t::bytea), 'load' FROM unnest($1::text[], $2::text[], $3::text[]) AS x(o, t, u) ON CONFLICT DO NOTHING`,
    every(({ organizationId, users }) => users.map(({ id, tokenId }) => [organizationId, tokenId, id])),
  );
  await db.query(
    'INSERT INTO projects (id, organization_id, name) SELECT i, o, i FROM unnest($1::text[], $2::text[]) AS x(i, o) ON CONFLICT DO NOTHING',
    every(({ organizationId, projects }) => projects.map((id) => [id, organizationId])),
  );
  await db.query(
    `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) SELECT b, o, s, i, 'MONTH', 1000000000 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS x(b, o, s, i)
    WHERE NOT EXISTS (SELECT FROM budgets AS b WHERE b.organization_id = o AND b.subject_id = i)`,
    every(({ organizationId, users, projects }) => [
      [newId('budget'), organizationId, 'ORGANIZATION', organizationId],
      ...projects.map((id) => [newId('budget'), organizationId, 'PROJECT', id]),
      ...users.flatMap(({ id, tokenId }) => [
        [newId('budget'), organizationId, 'USER', id],
        [newId('budget'), organizationId, 'API_TOKEN', tokenId],
      ]),
    ]),
  );
  const [book] = await db.query<{ number: number }>('SELECT coalesce(max(number), 0)::int AS number FROM model_prices');
  const store = new LedgerStore(db);
  const calls = new Map<string, NewCall>();
  return {
    store,
    admit: async (count) => {
      const asked = Array.from({ length: count }, () => newCall(placeOf()));
      for (const call of asked) calls.set(call.id, call);
      const admissions = await store.admit(asked);
      return admissions.filter((admission) => admission.kind === 'ADMITTED');
    },
    settle: async (admitted) => {
      const call = calls.get(admitted.id)!;
      calls.delete(admitted.id);
      await store.settle([endOf(call, admitted, book!.number)]);
    },
  };
}

function newCall({ organizationId, users, projects, models: own }: Place): NewCall {
  const user = pick(users);
  return {
    ...benchFacts(dollars()),
    id: newId('call'),
    organizationId,
    userId: user.id,
    tokenId: user.tokenId,
    projectId: pick(projects),
    agent: null,
    scenario: pick(SCENARIOS),
    traceId: '0'.repeat(32),
    model: pick(own),
    upstream: 'LITELLM',
    streamed: false,
    owner: 'bench',
    deadlineMs: 600_000,
    question: null,
    idempotency: null,
  };
}

function endOf(call: NewCall, admitted: AdmittedCall, priceBook: number): Settlement {
  const cost = dollars();
  return {
    id: call.id,
    occurredAt: admitted.occurredAt,
    organizationId: call.organizationId,
    userId: call.userId,
    tokenId: call.tokenId,
    projectId: call.projectId,
    conversationId: null,
    agent: null,
    scenario: call.scenario,
    traceId: call.traceId,
    streamed: false,
    model: call.model,
    servedModel: call.model,
    provider: 'load',
    deployment: null,
    serviceTier: null,
    priceBook,
    upstream: 'LITELLM',
    attempts: 1,
    status: 'COMPLETED',
    errorCode: null,
    finishReason: 'STOP',
    tokens: {
      uncachedPrompt: randomInt(50, 5_000),
      cacheRead: 0,
      cacheWrite: 0,
      cacheWriteOneHour: 0,
      output: randomInt(10, 1_000),
      reasoning: 0,
    },
    usageSource: 'PROVIDER',
    cacheUse: 'NO',
    cachedTokens: null,
    rawUsage: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 },
    priceNumber: 1,
    cost: { input: cost, cacheRead: '0', cacheWrite: '0', output: '0', reasoning: '0', request: '0', total: cost },
    proxyCost: null,
    latencyMs: randomInt(300, 20_000),
    timeToFirstTokenMs: null,
    omittedMessages: 0,
    answer: null,
    heldOn: admitted.heldOn,
    facts: call,
    idempotency: null,
  };
}
