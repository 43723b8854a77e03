import { randomBytes } from 'node:crypto';
import { KeyService } from '../../../src/services/keys/key.service';
import { LitellmAdmin } from '../../../src/services/upstream/litellm/admin';
import { PlanService } from '../../../src/services/plans/plan.service';
import type { Plan } from '../../../src/domain/plan';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createOrganization, createPlan, createUser, type TestUser } from '../../support/factories';
import { LitellmStandIn } from '../../support/litellm-admin';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';

let database: TestDatabase;
let proxy: LitellmStandIn;
let admin: LitellmAdmin;
let plans: PlanService;
let organizationId: string;
let planId: string;
let otherPlanId: string;
let user: TestUser;
let keys: KeyService;
let catalog: string[];
const secretKey = randomBytes(32).toString('base64');
const logger = memoryLogger();

const newKeys = (): KeyService =>
  new KeyService({
    db: database.db,
    admin,
    secretKey,
    plans,
    modelsOf: (plan: Plan) => catalog.filter((id) => plan.models.includes(id)),
    logger,
  });
const onlyKey = () => {
  expect(proxy.keys.size).toBe(1);
  return [...proxy.keys.values()][0]!;
};
const rowOf = async (userId: string): Promise<Record<string, unknown> | undefined> =>
  (await database.db.query('SELECT * FROM virtual_keys WHERE user_id = $1', [userId]))[0];
const teamOf = async (id: string): Promise<string> =>
  `weir-${(await database.db.query<{ id: string }>('SELECT id FROM installation'))[0]!.id}-${id}`;

beforeAll(async () => {
  database = await createTestDatabase();
  organizationId = await createOrganization(database.db);
  planId = await createPlan(database.db, { name: 'pro', models: ['a', 'b'] });
  otherPlanId = await createPlan(database.db, { name: 'free', models: ['c'] });
  plans = new PlanService({ db: database.db });
  await plans.refresh();
});
afterAll(() => database.close());
beforeEach(async () => {
  proxy = await LitellmStandIn.start();
  admin = new LitellmAdmin({ baseUrl: proxy.baseUrl, masterKey: proxy.masterKey, timeoutMs: 15_000 });
  catalog = ['a', 'b', 'c'];
  await database.db.query('DELETE FROM proxy_teams');
  await database.db.query('DELETE FROM virtual_keys');
  user = await createUser(database.db, { organizationId, planId });
  keys = newKeys();
});
afterEach(async () => {
  await keys.stop();
  await admin.close();
  await proxy.stop();
});

describe('the first call of a user', () => {
  it('makes one key, in the team of the plan, named by user and plan, without a user of the proxy', async () => {
    const secret = await keys.keyFor(user.viewer);
    expect(onlyKey()).toEqual({
      key: secret,
      alias: await teamOf(user.id),
      teamId: await teamOf(planId),
      models: ['all-team-models'],
      metadata: { weir_user_id: user.id, weir_plan_id: planId },
      blocked: false,
    });
    expect(proxy.teams.get(await teamOf(planId))).toEqual(['a', 'b']);
    expect(secret).toMatch(/^sk-weir-/);
  });

  it('makes one key when 50 come at once on two replicas', async () => {
    const replicas = [keys, newKeys()];
    const secrets = await Promise.all(
      Array.from({ length: 50 }, (_, index) => replicas[index % 2]!.keyFor(user.viewer)),
    );
    expect(new Set(secrets).size).toBe(1);
    expect(onlyKey().key).toBe(secrets[0]);
    expect((await rowOf(user.id))!.confirmed).toBe(true);
    expect(proxy.count('POST /key/generate')).toBeLessThanOrEqual(2);
    expect(proxy.count('POST /key/delete')).toBe(0);
  });

  it('finds the key that an answer got lost for, and makes no second one', async () => {
    await keys.syncAll();
    proxy.loseAnswerOf = '/key/generate';
    await expect(keys.keyFor(user.viewer)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    proxy.loseAnswerOf = null;
    const made = onlyKey().key;
    await expect(keys.keyFor(user.viewer)).resolves.toBe(made);
    onlyKey();
  });

  it('replaces a key of its name whose secret nobody knows any more', async () => {
    await keys.keyFor(user.viewer);
    await database.db.query('DELETE FROM virtual_keys WHERE user_id = $1', [user.id]);
    const secret = await newKeys().keyFor(user.viewer);
    expect(onlyKey().key).toBe(secret);
  });

  it('leaves no secret that can be read in the database', async () => {
    const secret = await keys.keyFor(user.viewer);
    const row = (await rowOf(user.id))!;
    expect((row.secret as Buffer).includes(secret.slice(8))).toBe(false);
    expect(row.hint).toBe(secret.slice(-4));
    expect(await keys.infoOf([user, { ...user, id: 'usr_none' }])).toEqual([
      { hint: secret.slice(-4), createdAt: expect.any(Date), rotatedAt: null, blocked: false },
      null,
    ]);
  });

  it('is asked of the proxy once: later calls and other replicas read it', async () => {
    const secret = await keys.keyFor(user.viewer);
    const before = proxy.requests.length;
    await expect(keys.keyFor(user.viewer)).resolves.toBe(secret);
    await expect(newKeys().keyFor(user.viewer)).resolves.toBe(secret);
    expect(proxy.requests.length).toBe(before);
  });

  it('fails with a retryable error while the proxy is away, and shows no key until there is one', async () => {
    proxy.away = true;
    await expect(keys.keyFor(user.viewer)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    expect(await keys.infoOf([user])).toEqual([null]);
    proxy.away = false;
    const secret = await keys.keyFor(user.viewer);
    expect(onlyKey().key).toBe(secret);
  });

  it('makes nothing for a user who is deleted meanwhile', async () => {
    await keys.syncAll();
    proxy.before = async (path) => {
      if (path !== '/key/generate') return;
      proxy.before = () => {};
      await database.db.query('UPDATE users SET deleted_at = weir.now() WHERE id = $1', [user.id]);
      await keys.follow(user.viewer);
    };
    await expect(keys.keyFor(user.viewer)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(proxy.keys.size).toBe(0);
    expect(await rowOf(user.id)).toBeUndefined();
  });

  it('of a user who is blocked meanwhile leaves the key blocked', async () => {
    await keys.syncAll();
    proxy.before = async (path) => {
      if (path === '/key/generate') await database.db.query('UPDATE users SET blocked = true WHERE id = $1', [user.id]);
    };
    await keys.keyFor(user.viewer);
    expect(onlyKey().blocked).toBe(true);
  });
});

describe('the team of a plan', () => {
  it('is told once per change, not per user, and not again without a change', async () => {
    const users = await Promise.all(
      Array.from({ length: 5 }, () => createUser(database.db, { organizationId, planId })),
    );
    await Promise.all(users.map(({ viewer }) => keys.keyFor(viewer)));
    expect(proxy.count('POST /team/new')).toBe(1);
    expect(proxy.count('POST /team/update')).toBe(0);
    catalog = ['b', 'c'];
    await Promise.all([keys.syncAll(), newKeys().syncAll()]);
    await keys.syncAll();
    expect(proxy.count('POST /team/update')).toBe(1);
    expect(proxy.teams.get(await teamOf(planId))).toEqual(['b']);
  });

  it('never gets an empty list, which would mean all models', async () => {
    catalog = [];
    await keys.syncAll();
    expect([...proxy.teams.values()]).toEqual([['weir-no-model'], ['weir-no-model']]);
  });

  it('is made again when the proxy has lost it', async () => {
    await keys.syncAll();
    proxy.forgetEverything();
    catalog = ['a'];
    await keys.syncAll();
    expect(proxy.teams.get(await teamOf(planId))).toEqual(['a']);
  });
});

describe('a change of the user', () => {
  const change = async (sql: string): Promise<void> => {
    await database.db.query(`UPDATE users SET ${sql} WHERE id = $1`, [user.id]);
    await keys.follow(user.viewer);
  };

  it('moves the key with the plan, keeping its secret', async () => {
    const secret = await keys.keyFor(user.viewer);
    await change(`plan_id = '${otherPlanId}'`);
    expect(onlyKey()).toMatchObject({
      key: secret,
      teamId: await teamOf(otherPlanId),
      metadata: { weir_plan_id: otherPlanId },
    });
    expect(proxy.teams.get(await teamOf(otherPlanId))).toEqual(['c']);
  });

  it('blocks and unblocks the key', async () => {
    await keys.keyFor(user.viewer);
    await change('blocked = true');
    expect(onlyKey().blocked).toBe(true);
    expect((await keys.infoOf([user]))[0]!.blocked).toBe(true);
    await change('blocked = false');
    expect(onlyKey().blocked).toBe(false);
  });

  it('deletes the key with the user', async () => {
    await keys.keyFor(user.viewer);
    await change('deleted_at = weir.now()');
    expect(proxy.keys.size).toBe(0);
    expect(await rowOf(user.id)).toBeUndefined();
  });

  it('reaches the proxy later when it is away, and is not lost with the process', async () => {
    const second = await createUser(database.db, { organizationId, planId });
    await keys.keyFor(user.viewer);
    await keys.keyFor(second.viewer);
    proxy.away = true;
    await change('deleted_at = weir.now()');
    await database.db.query('UPDATE users SET blocked = true WHERE id = $1', [second.id]);
    await keys.follow(second.viewer);
    expect(proxy.keys.size).toBe(2);
    expect(await rowOf(user.id)).toBeDefined();
    expect(logger.lines.at(-1)).toMatchObject({ level: 'warn', fields: { userId: second.id } });
    // Another process finds what is left to do.
    proxy.away = false;
    const restarted = newKeys();
    restarted.start();
    await waitFor(() => proxy.keys.size === 1 && onlyKey().blocked, { what: 'the proxy to be told' });
    await waitFor(async () => (await rowOf(user.id)) === undefined);
    await restarted.stop();
  });

  it('is tried again by itself after a failure', async () => {
    keys.start();
    await keys.keyFor(user.viewer);
    proxy.away = true;
    await change('blocked = true');
    proxy.away = false;
    await waitFor(() => onlyKey().blocked, { what: 'the second try' });
  });

  it('does nothing for a user without a key', async () => {
    await change('blocked = true');
    expect(proxy.requests).toEqual([]);
  });
});

describe('a key that cannot be decrypted any more, because WEIR_SECRET_KEY was changed', () => {
  const withOtherKey = (): KeyService =>
    new KeyService({
      db: database.db,
      admin,
      secretKey: randomBytes(32).toString('base64'),
      plans,
      modelsOf: (plan: Plan) => catalog.filter((id) => plan.models.includes(id)),
      logger,
    });

  it('is replaced at the next call: one new key, said once, and the other replica finds it', async () => {
    const before = await keys.keyFor(user.viewer);
    const changed = withOtherKey();
    logger.lines.length = 0;
    const secrets = await Promise.all([changed.keyFor(user.viewer), changed.keyFor(user.viewer)]);
    expect(secrets[0]).not.toBe(before);
    expect(onlyKey()).toMatchObject({ key: secrets[0], alias: await teamOf(user.id), teamId: await teamOf(planId) });
    expect((await rowOf(user.id))!).toMatchObject({
      confirmed: true,
      hint: secrets[0]!.slice(-4),
      rotated_at: expect.any(Date),
    });
    expect(logger.lines.filter(({ message }) => message.includes('WEIR_SECRET_KEY'))).toMatchObject([
      { level: 'warn', fields: { userId: user.id } },
    ]);
    changed.forget(user.id);
    await expect(changed.keyFor(user.viewer)).resolves.toBe(secrets[0]);
  });

  it('does not keep a blocked user in, nor the changes of others waiting', async () => {
    const second = await createUser(database.db, { organizationId, planId });
    await keys.keyFor(user.viewer);
    await keys.keyFor(second.viewer);
    const changed = withOtherKey();
    await database.db.query('UPDATE users SET blocked = true WHERE id = ANY($1)', [[user.id, second.id]]);
    changed.start();
    await waitFor(() => proxy.keys.size === 0, { what: 'both keys to be deleted' });
    await changed.stop();
  });
});

describe('a repair', () => {
  it('makes the same key again when the proxy has lost everything', async () => {
    const secret = await keys.keyFor(user.viewer);
    proxy.forgetEverything();
    await keys.repair(user.viewer);
    expect(onlyKey()).toMatchObject({ key: secret, teamId: await teamOf(planId) });
    expect(proxy.teams.get(await teamOf(planId))).toEqual(['a', 'b']);
  });

  it('puts right a team, models and a block that somebody has changed at the proxy', async () => {
    await keys.syncAll();
    await keys.keyFor(user.viewer);
    Object.assign(onlyKey(), { teamId: await teamOf(otherPlanId), blocked: true });
    proxy.teams.set(await teamOf(planId), ['z']);
    await keys.repair(user.viewer);
    expect(onlyKey()).toMatchObject({ teamId: await teamOf(planId), blocked: false });
    expect(proxy.teams.get(await teamOf(planId))).toEqual(['a', 'b']);
  });

  it('takes a key that the proxy remembers as deleted for one that is not there', async () => {
    const secret = await keys.keyFor(user.viewer);
    await admin.deleteKey({ alias: onlyKey().alias });
    await keys.repair(user.viewer);
    expect(onlyKey().key).toBe(secret);
  });

  it('is not repeated for every refused call', async () => {
    await keys.keyFor(user.viewer);
    await keys.repair(user.viewer);
    const before = proxy.requests.length;
    await keys.repair(user.viewer);
    expect(proxy.requests.length).toBe(before);
  });
});

it('an error of the proxy that repeats a key does not carry it on', async () => {
  const wrong = new LitellmAdmin({ baseUrl: proxy.baseUrl, masterKey: 'sk-canary-master-key' });
  const error = await wrong.models().catch((cause: unknown) => cause as Error);
  expect(error).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
  expect(JSON.stringify([error, (error as Error).message, (error as Error).stack])).not.toContain('canary');
  await wrong.close();
});
