import path from 'node:path';
import { isTokenForm, newTokenSecret } from '../src/services/auth/credentials';
import { readObject, writePrivate } from './secrets';
import { dividePlans, SEED_PLANS, type PlanContent, type SeedModel, type SeedPlan } from './seed-plans';
import { SeedStore } from './seed.store';

export const DEMO_ROLES = ['free', 'pro', 'team', 'analyst', 'admin', 'operator'] as const;
export type DemoRole = (typeof DEMO_ROLES)[number];
export type DemoTokens = Record<DemoRole, string>;

/** What `demo.json` holds. */
export interface Demo {
  graphql: string;
  websocket: string;
  tokens: DemoTokens;
}

const PLAN_ROWS: Record<SeedPlan, { name: string; maxOutputTokens: number | null }> = {
  free: { name: 'Free', maxOutputTokens: 4_096 },
  pro: { name: 'Pro', maxOutputTokens: null },
  team: { name: 'Team', maxOutputTokens: null },
};
const USERS: Record<DemoRole, { name: string; role: string; plan: SeedPlan }> = {
  free: { name: 'Fred Free', role: 'MEMBER', plan: 'free' },
  pro: { name: 'Paula Pro', role: 'MEMBER', plan: 'pro' },
  team: { name: 'Tom Team', role: 'MEMBER', plan: 'team' },
  analyst: { name: 'Ana Analyst', role: 'ANALYST', plan: 'team' },
  admin: { name: 'Ada Admin', role: 'ADMIN', plan: 'team' },
  operator: { name: 'Otto Operator', role: 'OPERATOR', plan: 'team' },
};
const externalIdOf = (role: DemoRole): string => `demo-${role}`;

/** What the plans were made as, so that a later start can tell whether a person edited them. */
type PlanMemory = Partial<Record<SeedPlan, PlanContent & { id: string }>>;

export const demoFileOf = (home: string): string => path.join(home, 'demo.json');
const memoryFileOf = (home: string): string => path.join(home, 'demo-plans.json');

/**
 * Fills an empty database with one organisation, three plans and a user per role, and makes sure that the tokens of
 * `demo.json` work. A
 * database that is not empty and not ours stays as it is (null). Plans that nobody edited follow the models of the
 * upstream, which may be another one today. Tokens stay the same from start to start; those of a lost `demo.json` are
 * made anew.
 */
export async function seedDemo(
  home: string,
  databaseUrl: string,
  models: readonly SeedModel[],
): Promise<DemoTokens | null> {
  const plans = dividePlans(models);
  const memory = readObject(memoryFileOf(home)) as PlanMemory;
  const tokens = knownTokens(home);
  const seeded = await SeedStore.transaction(databaseUrl, async (store) => {
    if (await store.isEmpty()) await insertAll(store, plans, memory);
    else if (models.length > 0) await followUpstream(store, plans, memory);
    return ensureTokens(store, tokens);
  });
  // After the commit: what it says is then true. Lost in between, the next start leaves the plans alone.
  if (seeded) writePrivate(memoryFileOf(home), `${JSON.stringify(memory, null, 2)}\n`);
  return seeded ? tokens : null;
}

export function writeDemo(home: string, demo: Demo): void {
  writePrivate(demoFileOf(home), `${JSON.stringify(demo, null, 2)}\n`);
}

async function insertAll(store: SeedStore, plans: Record<SeedPlan, PlanContent>, memory: PlanMemory): Promise<void> {
  const organizationId = await store.insertOrganization('Demonstration');
  for (const plan of SEED_PLANS)
    memory[plan] = { id: await store.insertPlan({ ...PLAN_ROWS[plan], ...plans[plan] }), ...plans[plan] };
  for (const role of DEMO_ROLES) {
    const { name, role: graphRole, plan } = USERS[role];
    await store.insertUser({
      organizationId,
      planId: memory[plan]!.id,
      name,
      email: `${role}@example.com`,
      externalId: externalIdOf(role),
      role: graphRole,
    });
  }
}

async function followUpstream(
  store: SeedStore,
  plans: Record<SeedPlan, PlanContent>,
  memory: PlanMemory,
): Promise<void> {
  for (const plan of SEED_PLANS) {
    const before = memory[plan];
    if (before && (await store.refreshPlan(before.id, before, plans[plan])))
      memory[plan] = { id: before.id, ...plans[plan] };
  }
}

/** False when the demonstration's users are not in this database. */
async function ensureTokens(store: SeedStore, tokens: DemoTokens): Promise<boolean> {
  let found = false;
  for (const role of DEMO_ROLES) {
    const user = await store.findUser(externalIdOf(role));
    if (user === null) continue;
    found = true;
    await store.ensureToken(user, tokens[role]);
  }
  return found;
}

function knownTokens(home: string): DemoTokens {
  const known = (readObject(demoFileOf(home)).tokens ?? {}) as Partial<Record<DemoRole, unknown>>;
  const entries = DEMO_ROLES.map((role) => {
    const token = known[role];
    return [role, typeof token === 'string' && isTokenForm(token) ? token : newTokenSecret()];
  });
  return Object.fromEntries(entries) as DemoTokens;
}
