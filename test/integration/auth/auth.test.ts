import type { Config } from '../../../src/config';
import { PlanService } from '../../../src/services/plans/plan.service';
import { AuthService } from '../../../src/services/auth/auth.service';
import { PeopleService } from '../../../src/services/accounts/people.service';
import type { Viewer } from '../../../src/domain/principal';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import {
  createOrganization,
  createPlan,
  createToken,
  createUser,
  createWorld,
  type World,
} from '../../support/factories';
import { TestIdentityProvider } from '../../support/jwks';
import { memoryLogger } from '../../support/log';

let database: TestDatabase;
let provider: TestIdentityProvider;
let plans: PlanService;
let world: World;
const made: AuthService[] = [];
const newAuth = (config: Partial<Config['auth']> = {}, db = database.db): AuthService => {
  const auth = new AuthService({
    db,
    plans,
    logger: memoryLogger(),
    config: {
      jwksUrl: null,
      issuer: provider.issuer,
      audience: provider.audience,
      algorithms: ['ES256'],
      defaultPlan: world.planId,
      defaultOrganization: world.organizationId,
      roleClaim: null,
      organizationClaim: null,
      ...config,
    },
  });
  made.push(auth);
  return auth;
};
const bearer = (token: string): string => `Bearer ${token}`;
const refused = expect.objectContaining({ code: 'UNAUTHENTICATED' });

beforeAll(async () => {
  [database, provider] = await Promise.all([createTestDatabase(), TestIdentityProvider.start()]);
  world = await createWorld(database.db, { plan: { name: 'starter' } });
  plans = new PlanService({ db: database.db });
  await plans.refresh();
});
afterEach(async () => {
  for (const auth of made.splice(0)) await auth.stop();
});
afterAll(async () => {
  await provider.stop();
  await database.close();
});

describe('an API token', () => {
  it('gives its user as the viewer', async () => {
    const expiresAt = new Date(Date.now() + 60_000);
    const user = await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      role: 'ANALYST',
      tokenExpiresAt: expiresAt,
    });
    await expect(newAuth().authenticate(bearer(user.token))).resolves.toEqual(user.viewer);
    await expect(newAuth().authenticate(`bearer   ${user.token} `)).resolves.toEqual(user.viewer);
  });

  it.each<[string, (token: string) => string | null | undefined]>([
    ['nothing', () => undefined],
    ['an empty header', () => ''],
    ['the bare token', (token) => token],
    ['another scheme', (token) => `Basic ${token}`],
    ['one with a changed letter', (token) => bearer(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`)],
    ['one that is cut', (token) => bearer(token.slice(0, -1))],
    ['one that goes on', (token) => bearer(`${token}x`)],
    ['two', (token) => `${bearer(token)} ${token}`],
    ['SQL', () => "Bearer ' OR 1=1 --"],
    ['SQL in the form of a token', () => bearer(`weir_${"'".repeat(43)}`)],
    ['a NUL byte', (token) => bearer(`${token}\0`)],
    ['a JWT, where no identity provider is configured', () => bearer(provider.token())],
    ['megabytes', () => bearer('x'.repeat(5_000_000))],
  ])('is not %s', async (_, header) => {
    await expect(newAuth().authenticate(header(world.member.token))).rejects.toEqual(refused);
  });

  it('ends when it is revoked, expires, or its user is blocked or deleted', async () => {
    const auth = newAuth();
    for (const end of [
      'UPDATE api_tokens SET revoked_at = weir.now() WHERE user_id = $1',
      `UPDATE api_tokens SET expires_at = weir.now() - interval '1 second' WHERE user_id = $1`,
      'UPDATE users SET blocked = true WHERE id = $1',
      'UPDATE users SET deleted_at = weir.now() WHERE id = $1',
    ]) {
      const user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
      const viewer = await auth.authenticate(bearer(user.token));
      expect([...(await auth.ended([viewer]))]).toEqual([]);
      await database.db.query(end, [user.id]);
      expect([...(await auth.ended([viewer]))]).toEqual([viewer]);
      auth.forgetUser(user.id);
      await expect(auth.authenticate(bearer(user.token))).rejects.toEqual(refused);
    }
  });

  it('is looked up once for many calls at a time, and again after two seconds', async () => {
    let lookups = 0;
    const counted = {
      ...database.db,
      hot: <R>(...args: [string, string, readonly unknown[]]) => ((lookups += 1), database.db.hot<R>(...args)),
    };
    const auth = newAuth({}, counted);
    let now = performance.now();
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now);
    try {
      await Promise.all(Array.from({ length: 20 }, () => auth.authenticate(bearer(world.member.token))));
      expect(lookups).toBe(1);
      now += 1_999;
      await auth.authenticate(bearer(world.member.token));
      expect(lookups).toBe(1);
      now += 1;
      await auth.authenticate(bearer(world.member.token));
      expect(lookups).toBe(2);
    } finally {
      clock.mockRestore();
    }
  });

  it('says when it was last used, without a write for each call', async () => {
    const { token, tokenId } = await createToken(database.db, world.member);
    const lastUse = async (): Promise<Date | null> =>
      (
        await database.db.query<{ last_used_at: Date | null }>('SELECT last_used_at FROM api_tokens WHERE id = $1', [
          tokenId,
        ])
      )[0]!.last_used_at;
    const auth = newAuth();
    await auth.authenticate(bearer(token));
    await auth.flush();
    const first = await lastUse();
    expect(first).toBeInstanceOf(Date);
    auth.forgetUser(world.member.id);
    await auth.authenticate(bearer(token));
    await auth.flush();
    expect(await lastUse()).toEqual(first);
  });
});

describe('ended', () => {
  it('asks for many viewers at once and mixes up nobody', async () => {
    const auth = newAuth();
    const second = await createToken(database.db, world.analyst);
    const viewers = [
      world.member.viewer,
      world.analyst.viewer,
      { ...world.analyst.viewer, tokenId: second.tokenId },
      { ...world.member.viewer, tokenId: null, expiresAtMs: Date.now() - 1 },
      { ...world.member.viewer, tokenId: null, expiresAtMs: Date.now() + 60_000 },
    ];
    await database.db.query('UPDATE api_tokens SET revoked_at = weir.now() WHERE id = $1', [second.tokenId]);
    expect([...(await auth.ended(viewers))]).toEqual([viewers[2], viewers[3]]);
    expect((await auth.ended([])).size).toBe(0);
  });
});

describe('a JWT of the identity provider', () => {
  const jwtAuth = (config: Partial<Config['auth']> = {}): AuthService => newAuth({ jwksUrl: provider.url, ...config });
  const userOf = async (viewer: Viewer) =>
    (
      await database.db.query(
        'SELECT name, email, external_id, role, plan_id, organization_id FROM users WHERE id = $1',
        [viewer.userId],
      )
    )[0];

  it('makes its user on first sight, with the default plan, and finds it again', async () => {
    const auth = jwtAuth({ defaultPlan: 'starter' });
    const viewer = await auth.authenticate(
      bearer(provider.token({ sub: 'new', name: 'New', email: 'new@example.com' })),
    );
    expect(viewer).toMatchObject({
      organizationId: world.organizationId,
      planId: world.planId,
      role: 'MEMBER',
      tokenId: null,
      expiresAtMs: expect.any(Number),
    });
    expect(await userOf(viewer)).toEqual({
      name: 'New',
      email: 'new@example.com',
      external_id: 'new',
      role: 'MEMBER',
      plan_id: world.planId,
      organization_id: world.organizationId,
    });
    expect((await jwtAuth().authenticate(bearer(provider.token({ sub: 'new' })))).userId).toBe(viewer.userId);
  });

  it('makes one user when 30 first calls come at once on two replicas', async () => {
    const replicas = [jwtAuth(), jwtAuth()];
    const viewers = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        replicas[index % 2]!.authenticate(bearer(provider.token({ sub: 'crowd', jti: String(index) }))),
      ),
    );
    expect(new Set(viewers.map(({ userId }) => userId)).size).toBe(1);
  });

  it('finds a user that an administrator has made for its subject, with the plan that this one has', async () => {
    const planId = await createPlan(database.db);
    const user = await createUser(database.db, {
      organizationId: world.organizationId,
      planId,
      externalId: 'expected',
    });
    await expect(jwtAuth().authenticate(bearer(provider.token({ sub: 'expected' })))).resolves.toMatchObject({
      userId: user.id,
      planId,
    });
  });

  it('keeps name, address and role as the token says, and takes a role away with the claim', async () => {
    const auth = jwtAuth({ roleClaim: 'role' });
    const seen = async (claims: object) =>
      userOf(await auth.authenticate(bearer(provider.token({ sub: 'changing', ...claims }))));
    expect(await seen({ name: 'A', role: 'ADMIN' })).toMatchObject({ name: 'A', role: 'ADMIN' });
    expect(await seen({ name: 'B', email: 'b@example.com', role: 'operator' })).toMatchObject({
      name: 'B',
      email: 'b@example.com',
      role: 'MEMBER',
    });
    expect(await seen({ role: 'OPERATOR' })).toMatchObject({ name: 'B', role: 'OPERATOR' });
    expect(await seen({})).toMatchObject({ email: 'b@example.com', role: 'MEMBER' });
  });

  it('leaves the role to us where no claim is configured', async () => {
    const user = await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      externalId: 'kept',
      role: 'ANALYST',
    });
    await expect(
      jwtAuth().authenticate(bearer(provider.token({ sub: 'kept', role: 'OPERATOR' }))),
    ).resolves.toMatchObject({ userId: user.id, role: 'ANALYST' });
  });

  it('puts its user into the organisation that it names, the same subject elsewhere being somebody else', async () => {
    const other = await createOrganization(database.db, 'Other');
    const auth = jwtAuth({ organizationClaim: 'org' });
    const here = await auth.authenticate(bearer(provider.token({ sub: 'both' })));
    const there = await auth.authenticate(bearer(provider.token({ sub: 'both', org: 'Other' })));
    expect([here.organizationId, there.organizationId]).toEqual([world.organizationId, other]);
    expect((await auth.authenticate(bearer(provider.token({ sub: 'both', org: other })))).userId).toBe(there.userId);
  });

  it('is refused where its organisation is unknown or not named', async () => {
    await expect(
      jwtAuth({ organizationClaim: 'org' }).authenticate(bearer(provider.token({ org: 'Nobody' }))),
    ).rejects.toEqual(refused);
    await expect(
      jwtAuth({ organizationClaim: 'org', defaultOrganization: null }).authenticate(bearer(provider.token())),
    ).rejects.toEqual(refused);
  });

  it('is refused for a blocked user', async () => {
    await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      externalId: 'blocked',
      blocked: true,
    });
    await expect(jwtAuth().authenticate(bearer(provider.token({ sub: 'blocked' })))).rejects.toEqual(refused);
  });

  it('does not bring a deleted user back, until the person logs in again', async () => {
    const auth = jwtAuth();
    const token = provider.token({ sub: 'leaver', iat: Math.floor(Date.now() / 1_000) - 10 });
    const { userId } = await auth.authenticate(bearer(token));
    const people = new PeopleService({
      db: database.db,
      plans,
      auth,
      keys: { follow: async () => {} },
      onAccessEnded: () => {},
    });
    await people.deleteUser(world.admin.viewer, userId);
    await expect(auth.authenticate(bearer(token))).rejects.toEqual(refused);
    const again = await auth.authenticate(
      bearer(provider.token({ sub: 'leaver', iat: Math.floor(Date.now() / 1_000) + 5 })),
    );
    expect(again.userId).not.toBe(userId);
  });
});
