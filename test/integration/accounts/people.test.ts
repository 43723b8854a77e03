import { newId } from '../../../src/lib/ids';
import { PlanStore } from '../../../src/services/plans/plan.store';
import { PlanService } from '../../../src/services/plans/plan.service';
import { AuthService } from '../../../src/services/auth/auth.service';
import { createOperator } from '../../../src/services/accounts/create-operator';
import { PeopleService } from '../../../src/services/accounts/people.service';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createUser, createWorld, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';

let database: TestDatabase;
let people: PeopleService;
let auth: AuthService;
let world: World;
let other: World;
/** What the service did outside the database, in order. */
let happened: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db, { name: 'World' });
  other = await createWorld(database.db, { name: 'Other' });
  const plans = new PlanService({ db: database.db });
  await plans.refresh();
  auth = new AuthService({
    db: database.db,
    plans,
    logger: memoryLogger(),
    config: {
      jwksUrl: null,
      issuer: null,
      audience: null,
      algorithms: [],
      defaultPlan: null,
      defaultOrganization: null,
      roleClaim: null,
      organizationClaim: null,
    },
  });
  people = new PeopleService({
    db: database.db,
    plans,
    auth,
    keys: { follow: async ({ userId }) => void happened.push(`key ${userId}`) },
    onAccessEnded: (userId) => void happened.push(`ended ${userId}`),
  });
});
afterAll(async () => {
  await auth.stop();
  await database.close();
});
beforeEach(() => {
  happened = [];
});

describe('a new user', () => {
  it('has what the administrator gave it', async () => {
    const user = await people.createUser(world.admin.viewer, {
      name: ' Grace ',
      email: 'grace@example.com',
      externalId: 'g-1',
      role: 'ANALYST',
      planId: other.planId,
    });
    expect(user).toMatchObject({
      organizationId: world.organizationId,
      name: 'Grace',
      email: 'grace@example.com',
      externalId: 'g-1',
      role: 'ANALYST',
      planId: other.planId,
      blocked: false,
      createdAt: expect.any(Date),
    });
    expect(await people.visibleUser(world.admin.viewer, user.id)).toMatchObject({ id: user.id });
  });

  it('has a subject of its own within the organisation', async () => {
    const input = { name: 'Twin', externalId: 'twin', role: 'MEMBER' as const, planId: world.planId };
    await people.createUser(world.admin.viewer, input);
    await expect(people.createUser(world.admin.viewer, input)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: 'externalId',
    });
    await expect(people.createUser(other.admin.viewer, input)).resolves.toMatchObject({ externalId: 'twin' });
  });

  it.each([
    ['BAD_USER_INPUT', 'name', { name: ' ' }],
    ['BAD_USER_INPUT', 'name', { name: 'a\0b' }],
    ['BAD_USER_INPUT', 'name', { name: 'x'.repeat(201) }],
    ['BAD_USER_INPUT', 'email', { email: 'nobody' }],
    ['BAD_USER_INPUT', 'email', { email: 'a\0@b.c' }],
    ['BAD_USER_INPUT', 'externalId', { externalId: '' }],
    ['NOT_FOUND', 'planId', { planId: newId('plan') }],
    ['NOT_FOUND', 'planId', { planId: '\0' }],
  ])('is refused with %s that names %s', async (code, argument, fault) => {
    await expect(
      people.createUser(world.admin.viewer, { name: 'N', role: 'MEMBER', planId: world.planId, ...fault }),
    ).rejects.toMatchObject({ code, argument });
  });
});

describe('the list of users', () => {
  const names = async (search: string | null): Promise<string[]> =>
    (await people.users(world.admin.viewer, { first: 100, search })).edges.map(({ node }) => node.name);

  it('finds a part of name or address in any case, and takes wildcards as they are', async () => {
    await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      name: 'Zoë 100% _x',
      email: 'Zoe@Example.com',
    });
    expect(await names('zoË')).toEqual(['Zoë 100% _x']);
    expect(await names('zoe@EXAMPLE')).toEqual(['Zoë 100% _x']);
    expect(await names('0%')).toEqual(['Zoë 100% _x']);
    expect(await names(' _x ')).toEqual(['Zoë 100% _x']);
    expect(await names('\\')).toEqual([]);
    expect(await names("' OR 1=1 --")).toEqual([]);
  });

  it('is read page by page without a gap or a repetition while users are added, those of one moment included', async () => {
    const scope = await createWorld(database.db, { name: 'Paged' });
    await database.db.query(
      `UPDATE users SET created_at = '2026-01-01 00:00:00.123456+00' WHERE organization_id = $1`,
      [scope.organizationId],
    );
    const before = (await people.users(scope.admin.viewer, { first: 100 })).edges.map(({ node }) => node.id);
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const page: Awaited<ReturnType<typeof people.users>> = await people.users(scope.admin.viewer, {
        first: 1,
        after,
      });
      expect(page.hasPreviousPage).toBe(after !== null);
      seen.push(...page.edges.map(({ node }) => node.id));
      if (seen.length < 4)
        await people.createUser(scope.admin.viewer, { name: 'Late', role: 'MEMBER', planId: scope.planId });
      after = page.hasNextPage ? page.edges.at(-1)!.cursor : null;
    } while (after);
    expect(before).toHaveLength(4);
    expect(seen.slice(0, 4)).toEqual(before);
    expect(new Set(seen).size).toBe(7);
    expect(seen).toHaveLength(7);
  });

  it.each([
    'x',
    Buffer.from('["a","b"]').toString('base64url'),
    Buffer.from('[1]').toString('base64url'),
    Buffer.from('[1.5,"a"]').toString('base64url'),
    Buffer.from('[9007199254740991,"a\\u0000"]').toString('base64url'),
  ])('refuses the cursor %j', async (after) => {
    await expect(people.users(world.admin.viewer, { first: 1, after })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: 'after',
    });
  });

  it('takes the greatest number in a cursor without a fault', async () => {
    const after = Buffer.from('[9007199254740991,"a"]').toString('base64url');
    expect((await people.users(world.admin.viewer, { first: 1, after })).edges).toEqual([]);
  });
});

describe('an API token', () => {
  it('works at once, shows its end only, and is stored as a hash', async () => {
    const expiresAt = new Date(Date.now() + 60_000);
    const { token, secret } = await people.createApiToken(world.member.viewer, { name: 'laptop', expiresAt });
    expect(secret).toMatch(/^weir_[A-Za-z0-9_-]{43}$/);
    expect(token).toMatchObject({
      userId: world.member.id,
      name: 'laptop',
      hint: secret.slice(-4),
      expiresAt,
      lastUsedAt: null,
      revokedAt: null,
    });
    await expect(auth.authenticate(`Bearer ${secret}`)).resolves.toMatchObject({
      userId: world.member.id,
      tokenId: token.id,
    });
    const [row] = await database.db.query('SELECT row_to_json(t)::text AS text FROM api_tokens t WHERE id = $1', [
      token.id,
    ]);
    expect((row as { text: string }).text).not.toContain(secret.slice(5, 30));
    expect((await people.apiTokensOf(world.member.viewer, [world.member]))[0]![0]).toEqual(token);
  });

  it('does not work any more when it is revoked, from the next call on', async () => {
    const { token, secret } = await people.createApiToken(world.member.viewer, { name: 'lost' });
    await auth.authenticate(`Bearer ${secret}`);
    await people.revokeApiToken(world.admin.viewer, token.id);
    await expect(auth.authenticate(`Bearer ${secret}`)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('is refused with an expiry in the past, and beyond a hundred', async () => {
    await expect(
      people.createApiToken(world.member.viewer, { name: 'late', expiresAt: new Date(Date.now() - 1) }),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'expiresAt' });
    await expect(
      people.createApiToken(world.member.viewer, { name: 'never', expiresAt: new Date(NaN) }),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'expiresAt' });
    const { viewer } = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
    for (let count = 1; count < 100; count += 1) await people.createApiToken(viewer, { name: 'n' });
    await expect(people.createApiToken(viewer, { name: 'one too many' })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: '',
    });
  });
});

describe('blocking a user', () => {
  it('ends access at once, then what runs, then the key; unblocking gives it back', async () => {
    const user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
    await auth.authenticate(`Bearer ${user.token}`);
    await expect(people.setUserBlocked(world.admin.viewer, user.id, true)).resolves.toMatchObject({ blocked: true });
    expect(happened).toEqual([`ended ${user.id}`, `key ${user.id}`]);
    await expect(auth.authenticate(`Bearer ${user.token}`)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await people.setUserBlocked(world.admin.viewer, user.id, false);
    expect(happened.slice(2)).toEqual([`key ${user.id}`]);
    await expect(auth.authenticate(`Bearer ${user.token}`)).resolves.toMatchObject({ userId: user.id });
  });
});

it('a new plan reaches the next call and the key', async () => {
  const user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId });
  await auth.authenticate(`Bearer ${user.token}`);
  await people.setUserPlan(world.admin.viewer, user.id, other.planId);
  await expect(auth.authenticate(`Bearer ${user.token}`)).resolves.toMatchObject({ planId: other.planId });
  expect(happened).toEqual([`key ${user.id}`]);
  await expect(people.setUserPlan(world.admin.viewer, user.id, newId('plan'))).rejects.toMatchObject({
    code: 'NOT_FOUND',
    argument: 'planId',
  });
});

describe('deleting a user', () => {
  it('erases the person and everything said, and keeps the figures', async () => {
    const user = await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      name: 'Gone Person',
      email: 'gone@example.com',
      externalId: 'gone',
    });
    const conversationId = newId('conversation');
    await database.db.query(
      `INSERT INTO conversations (id, organization_id, user_id, title) VALUES ($1, $2, $3, 'private')`,
      [conversationId, world.organizationId, user.id],
    );
    await database.db.query(
      `INSERT INTO messages (organization_id, id, conversation_id, position, role, content) VALUES ($1, $2, $3, 1, 'USER', 'private')`,
      [world.organizationId, newId('message'), conversationId],
    );
    await database.db.query(
      `INSERT INTO llm_usage (organization_id, occurred_at, id, user_id, scenario, trace_id, streamed, model, served_model, upstream, attempts, status,
         uncached_prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_one_hour_tokens, output_tokens, reasoning_tokens, usage_source, batch_id, door, operation)
       VALUES ($1, weir.now(), $2, $3, 'DEFAULT', 't', false, 'm', 'm', 'DIRECT', 1, 'COMPLETED', 1, 0, 0, 0, 1, 0, 'PROVIDER', 0, 'GRAPHQL', 'CHAT')`,
      [world.organizationId, newId('call'), user.id],
    );
    await expect(people.deleteUser(world.admin.viewer, user.id)).resolves.toBe(user.id);
    expect(happened).toEqual([`ended ${user.id}`, `key ${user.id}`]);

    const count = async (table: string, column = 'user_id'): Promise<number> =>
      Number(
        (
          await database.db.query<{ count: string }>(`SELECT count(*) FROM ${table} WHERE ${column} = $1`, [user.id])
        )[0]!.count,
      );
    expect([await count('api_tokens'), await count('conversations'), await count('llm_usage')]).toEqual([0, 0, 1]);
    expect(await database.db.query(`SELECT 1 FROM messages WHERE content = 'private'`)).toEqual([]);
    expect(await people.usersById([user.id], world.organizationId)).toMatchObject([
      { id: user.id, name: 'deleted user', email: null, externalId: null },
    ]);
    const [row] = await database.db.query<{ text: string }>(
      'SELECT row_to_json(u)::text AS text FROM users u WHERE id = $1',
      [user.id],
    );
    expect(row!.text).not.toMatch(/gone/i);
  });

  it('makes it a missing object for everybody and everything', async () => {
    const user = await createUser(database.db, {
      organizationId: world.organizationId,
      planId: world.planId,
      name: 'Nobody Now',
    });
    await people.deleteUser(world.admin.viewer, user.id);
    expect(await people.visibleUser(world.operator.viewer, user.id)).toBeNull();
    expect((await people.users(world.operator.viewer, { first: 100, search: 'deleted user' })).edges).toEqual([]);
    await expect(auth.authenticate(`Bearer ${user.token}`)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await expect(people.deleteUser(world.admin.viewer, user.id)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      argument: 'id',
    });
    await expect(people.setUserBlocked(world.admin.viewer, user.id, false)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      argument: 'userId',
    });
    await expect(people.createApiToken(user.viewer, { name: 'undead' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('frees its subject for another user', async () => {
    const input = { name: 'Again', externalId: 'again', role: 'MEMBER' as const, planId: world.planId };
    await people.deleteUser(world.admin.viewer, (await people.createUser(world.admin.viewer, input)).id);
    await expect(people.createUser(world.admin.viewer, input)).resolves.toMatchObject({ externalId: 'again' });
  });
});

it('objects by id come in the order of the ids, null for missing ones', async () => {
  expect(
    (await people.usersById([world.admin.id, 'usr_\0', world.member.id, world.admin.id], world.organizationId)).map(
      (user) => user?.id ?? null,
    ),
  ).toEqual([world.admin.id, null, world.member.id, world.admin.id]);
  expect(await people.organizationsById(['nothing', world.organizationId])).toEqual([
    null,
    { id: world.organizationId, name: 'World' },
  ]);
  expect(await people.projectsById([], null)).toEqual([]);
});

describe('the command that makes the first operator', () => {
  it('makes what it needs in an empty database, and a token that works', async () => {
    const empty = await createTestDatabase();
    try {
      const made = await createOperator(empty.db, new PlanStore(), { name: 'Root', organization: null });
      expect(made).toMatchObject({
        organization: { name: 'Operators' },
        planName: 'default',
        user: { name: 'Root', role: 'OPERATOR' },
      });
      const plans = new PlanService({ db: empty.db });
      await plans.refresh();
      const emptyAuth = new AuthService({
        db: empty.db,
        plans,
        logger: memoryLogger(),
        config: {
          jwksUrl: null,
          issuer: null,
          audience: null,
          algorithms: [],
          defaultPlan: null,
          defaultOrganization: null,
          roleClaim: null,
          organizationClaim: null,
        },
      });
      await expect(emptyAuth.authenticate(`Bearer ${made.secret}`)).resolves.toMatchObject({
        userId: made.user.id,
        role: 'OPERATOR',
      });
      await emptyAuth.stop();
      const second = await createOperator(empty.db, new PlanStore(), { name: 'Second', organization: null });
      expect(second.organization).toEqual(made.organization);
      expect(
        (await createOperator(empty.db, new PlanStore(), { name: 'Third', organization: 'New' })).organization.name,
      ).toBe('New');
      await expect(
        createOperator(empty.db, new PlanStore(), { name: 'Fourth', organization: null }),
      ).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    } finally {
      await empty.close();
    }
  });
});
