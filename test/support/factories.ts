import { createHash, randomBytes } from 'node:crypto';
import type { Db } from '../../src/database/pool';
import { newId } from '../../src/lib/ids';
import type { Role, Viewer } from '../../src/domain/principal';

/**
 * Rows that a test begins with, written straight into the tables: what the product does to make them has tests of its
 * own.
 */
export interface TestUser {
  id: string;
  organizationId: string;
  planId: string;
  role: Role;
  /** An API token of the user, as sent behind `Bearer`. */
  token: string;
  tokenId: string;
  /** The user as services see the caller. */
  viewer: Viewer;
}

export async function createOrganization(db: Db, name = 'Acme'): Promise<string> {
  const id = newId('organization');
  await db.query('INSERT INTO organizations (id, name) VALUES ($1, $2)', [id, name]);
  return id;
}

export interface PlanFields {
  name?: string;
  models?: string[];
  defaultModel?: string | null;
  maxOutputTokens?: number | null;
}

export async function createPlan(db: Db, fields: PlanFields = {}): Promise<string> {
  const id = newId('plan');
  const {
    name = `plan ${randomBytes(4).toString('hex')}`,
    models = ['direct/*'],
    defaultModel = null,
    maxOutputTokens = null,
  } = fields;
  await db.query('SELECT weir.put_plan($1, $2, $3, $4, NULL, NULL, NULL, $5, NULL)', [
    id,
    name,
    models,
    defaultModel,
    maxOutputTokens,
  ]);
  return id;
}

export interface UserFields {
  organizationId: string;
  planId: string;
  role?: Role;
  name?: string;
  email?: string | null;
  externalId?: string | null;
  blocked?: boolean;
  tokenExpiresAt?: Date | null;
}

export async function createUser(db: Db, fields: UserFields): Promise<TestUser> {
  const {
    organizationId,
    planId,
    role = 'MEMBER',
    name = 'Ada',
    email = null,
    externalId = null,
    blocked = false,
    tokenExpiresAt = null,
  } = fields;
  const id = newId('user');
  await db.query('SELECT weir.put_user($1, $2, $3, $4, $5, $6, $7)', [
    organizationId,
    id,
    name,
    email,
    externalId,
    role,
    planId,
  ]);
  if (blocked)
    await db.query('UPDATE users SET blocked = true WHERE organization_id = $1 AND id = $2', [organizationId, id]);
  const { token, tokenId } = await createToken(db, { organizationId, id }, tokenExpiresAt);
  return {
    id,
    organizationId,
    planId,
    role,
    token,
    tokenId,
    viewer: {
      userId: id,
      organizationId,
      role,
      planId,
      tokenId,
      sessionId: null,
      expiresAtMs: tokenExpiresAt?.getTime() ?? null,
    },
  };
}

export async function createToken(
  db: Db,
  user: { organizationId: string; id: string },
  expiresAt: Date | null = null,
): Promise<{ token: string; tokenId: string }> {
  const token = `weir_${randomBytes(32).toString('base64url')}`;
  const tokenId = newId('apiToken');
  const hash = createHash('sha256').update(token).digest();
  await db.query('SELECT weir.put_token($1, $2, $3, $4, $5, $6, $7, NULL)', [
    user.organizationId,
    tokenId,
    user.id,
    'test',
    hash,
    token.slice(-4),
    expiresAt,
  ]);
  return { token, tokenId };
}

export interface World {
  organizationId: string;
  planId: string;
  member: TestUser;
  analyst: TestUser;
  admin: TestUser;
  operator: TestUser;
}

/** An organisation with a plan that allows every model of the direct upstream, and one user of each role. */
export async function createWorld(db: Db, options: { name?: string; plan?: PlanFields } = {}): Promise<World> {
  const organizationId = await createOrganization(db, options.name);
  const planId = await createPlan(db, options.plan);
  const user = (role: Role): Promise<TestUser> =>
    createUser(db, { organizationId, planId, role, name: `${options.name ?? 'Acme'} ${role.toLowerCase()}` });
  return {
    organizationId,
    planId,
    member: await user('MEMBER'),
    analyst: await user('ANALYST'),
    admin: await user('ADMIN'),
    operator: await user('OPERATOR'),
  };
}
