import { PlanService } from '../../../src/services/plans/plan.service';
import { PeopleService } from '../../../src/services/accounts/people.service';
import type { Role, Viewer } from '../../../src/domain/principal';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createToken, createUser, createWorld, type TestUser, type World } from '../../support/factories';

/** Two organisations; each test of the table acts on fresh users of both. */
let database: TestDatabase;
let people: PeopleService;
let here: World;
let there: World;
const targets: Record<string, TestUser & { spareToken: string }> = {};

beforeAll(async () => {
  database = await createTestDatabase();
  here = await createWorld(database.db, { name: 'Here' });
  there = await createWorld(database.db, { name: 'There' });
  const plans = new PlanService({ db: database.db });
  await plans.refresh();
  people = new PeopleService({
    db: database.db,
    plans,
    keys: { follow: async () => {} },
    auth: { forgetUser: () => {} },
    onAccessEnded: () => {},
  });
});
afterAll(() => database.close());
beforeEach(async () => {
  for (const [name, world] of [
    ['here', here],
    ['there', there],
  ] as const) {
    for (const role of ['MEMBER', 'ADMIN', 'OPERATOR'] as const) {
      const user = await createUser(database.db, { organizationId: world.organizationId, planId: world.planId, role });
      targets[`${name} ${role}`] = { ...user, spareToken: (await createToken(database.db, user)).tokenId };
    }
  }
});

type Outcome = 'ok' | 'FORBIDDEN' | 'NOT_FOUND';
const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );
const ROLES: Role[] = ['MEMBER', 'ANALYST', 'ADMIN', 'OPERATOR'];
const viewerOf = (role: Role): Viewer => here[role.toLowerCase() as 'member'].viewer;

/** Per mutation: what happens when each role, in the order above, does it to each target. */
const onUsers: [
  string,
  (viewer: Viewer, target: TestUser & { spareToken: string }) => Promise<unknown>,
  revoke?: boolean,
][] = [
  ['setUserPlan', (viewer, target) => people.setUserPlan(viewer, target.id, here.planId)],
  ['setUserRole', (viewer, target) => people.setUserRole(viewer, target.id, 'ANALYST')],
  ['setUserBlocked', (viewer, target) => people.setUserBlocked(viewer, target.id, true)],
  ['deleteUser', (viewer, target) => people.deleteUser(viewer, target.id)],
  ['createApiToken', (viewer, target) => people.createApiToken(viewer, { userId: target.id, name: 'new' })],
];
const ADMINISTRATION: [string, Outcome[]][] = [
  ['here MEMBER', ['FORBIDDEN', 'FORBIDDEN', 'ok', 'ok']],
  ['here ADMIN', ['FORBIDDEN', 'FORBIDDEN', 'ok', 'ok']],
  ['here OPERATOR', ['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN', 'ok']],
  ['there MEMBER', ['FORBIDDEN', 'FORBIDDEN', 'NOT_FOUND', 'ok']],
  ['there OPERATOR', ['FORBIDDEN', 'FORBIDDEN', 'NOT_FOUND', 'ok']],
  ['nobody', ['FORBIDDEN', 'FORBIDDEN', 'NOT_FOUND', 'NOT_FOUND']],
];
const target = (name: string) => targets[name] ?? { ...targets['here MEMBER']!, id: 'usr_00000000000000000000000000' };

describe.each(onUsers)('%s', (_, act) => {
  for (const [name, expected] of ADMINISTRATION) {
    it.each(ROLES.map((role, index) => [role, expected[index]!] as const))(
      `of a user (${name}) by %s: %s`,
      async (role, result) => {
        expect(await outcome(act(viewerOf(role), target(name)))).toBe(result);
      },
    );
  }
});

describe('revokeApiToken', () => {
  it.each<[string, string[]]>([
    ['here MEMBER', ['NOT_FOUND', 'NOT_FOUND', 'ok', 'ok']],
    ['here OPERATOR', ['NOT_FOUND', 'NOT_FOUND', 'FORBIDDEN', 'ok']],
    ['there MEMBER', ['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND', 'ok']],
  ])('of a user (%s) by member, analyst, administrator, operator: %j', async (name, expected) => {
    const results: string[] = [];
    for (const role of ROLES)
      results.push(await outcome(people.revokeApiToken(viewerOf(role), targets[name]!.spareToken)));
    expect(results).toEqual(expected);
  });

  it('of the own token, by everybody, as often as they like', async () => {
    for (const role of ROLES) {
      const { token } = await people.createApiToken(viewerOf(role), { name: 'mine' });
      const { revokedAt } = await people.revokeApiToken(viewerOf(role), token.id);
      expect(revokedAt).toBeInstanceOf(Date);
      expect((await people.revokeApiToken(viewerOf(role), token.id)).revokedAt).toEqual(revokedAt);
    }
  });
});

describe('what may be seen', () => {
  it.each<[string, boolean[]]>([
    ['here MEMBER', [false, true, true, true]],
    ['there MEMBER', [false, false, false, true]],
  ])('a user (%s) by member, analyst, administrator, operator: %j', async (name, expected) => {
    const seen = await Promise.all(
      ROLES.map(async (role) => (await people.visibleUser(viewerOf(role), targets[name]!.id)) !== null),
    );
    expect(seen).toEqual(expected);
  });

  it.each<[string, boolean[]]>([
    ['here MEMBER', [false, false, true, true]],
    ['there MEMBER', [false, false, false, true]],
  ])('tokens of a user (%s) by member, analyst, administrator, operator: %j', async (name, expected) => {
    const { spareToken, ...user } = targets[name]!;
    expect(
      await Promise.all(ROLES.map(async (role) => (await people.visibleApiToken(viewerOf(role), spareToken)) !== null)),
    ).toEqual(expected);
    expect(
      await Promise.all(ROLES.map(async (role) => (await people.apiTokensOf(viewerOf(role), [user]))[0]!.length > 0)),
    ).toEqual(expected);
  });

  it('organisations and projects: the own ones; by operators all', async () => {
    const project = await people.createProject(there.admin.viewer, 'Secret');
    for (const role of ROLES) {
      expect((await people.visibleProject(viewerOf(role), project.id)) !== null).toBe(role === 'OPERATOR');
      expect((await people.visibleOrganization(viewerOf(role), there.organizationId)) !== null).toBe(
        role === 'OPERATOR',
      );
      expect(await people.visibleOrganization(viewerOf(role), here.organizationId)).toEqual({
        id: here.organizationId,
        name: 'Here',
      });
      expect(
        (await people.projects(viewerOf(role), { first: 100 })).edges.some(({ node }) => node.id === project.id),
      ).toBe(role === 'OPERATOR');
    }
    expect((await people.projects(there.member.viewer, { first: 100 })).edges.map(({ node }) => node)).toEqual([
      project,
    ]);
  });

  it('the list of users: by administrators theirs, by operators all', async () => {
    const list = async (role: Role) =>
      new Set((await people.users(viewerOf(role), { first: 100 })).edges.map(({ node }) => node.organizationId));
    await expect(list('MEMBER')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(list('ANALYST')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(await list('ADMIN')).toEqual(new Set([here.organizationId]));
    expect(await list('OPERATOR')).toEqual(new Set([here.organizationId, there.organizationId]));
  });

  it.each(['usr_\0', '', "' OR 1=1 --", 'x'.repeat(10_000)])('nothing by the id %j, and no fault', async (id) => {
    const viewer = here.operator.viewer;
    expect(
      await Promise.all([
        people.visibleUser(viewer, id),
        people.visibleProject(viewer, id),
        people.visibleOrganization(viewer, id),
        people.visibleApiToken(viewer, id),
      ]),
    ).toEqual([null, null, null, null]);
    await expect(people.deleteUser(viewer, id)).rejects.toMatchObject({ code: 'NOT_FOUND', argument: 'id' });
    await expect(people.setUserRole(viewer, id, 'ADMIN')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      argument: 'userId',
    });
  });
});

describe('what makes more than it is', () => {
  it('nobody but an operator makes operators', async () => {
    const admin = here.admin.viewer;
    await expect(people.setUserRole(admin, targets['here MEMBER']!.id, 'OPERATOR')).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    await expect(people.setUserRole(admin, admin.userId, 'OPERATOR')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(people.createUser(admin, { name: 'X', role: 'OPERATOR', planId: here.planId })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    await expect(
      people.setUserRole(here.operator.viewer, targets['here MEMBER']!.id, 'OPERATOR'),
    ).resolves.toMatchObject({ role: 'OPERATOR' });
  });

  it('members and analysts do not raise themselves', async () => {
    for (const { viewer } of [here.member, here.analyst]) {
      await expect(people.setUserRole(viewer, viewer.userId, 'ADMIN')).rejects.toMatchObject({ code: 'FORBIDDEN' });
      await expect(people.setUserPlan(viewer, viewer.userId, here.planId)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
  });

  it('an administrator makes no user elsewhere, and learns nothing of other organisations', async () => {
    for (const organizationId of [there.organizationId, 'org_00000000000000000000000000']) {
      await expect(
        people.createUser(here.admin.viewer, { organizationId, name: 'X', role: 'MEMBER', planId: here.planId }),
      ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    await expect(
      people.createUser(here.operator.viewer, {
        organizationId: there.organizationId,
        name: 'X',
        role: 'MEMBER',
        planId: here.planId,
      }),
    ).resolves.toMatchObject({ organizationId: there.organizationId });
    await expect(
      people.createUser(here.operator.viewer, {
        organizationId: 'org_00000000000000000000000000',
        name: 'X',
        role: 'MEMBER',
        planId: here.planId,
      }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND', argument: 'organizationId' });
  });

  it('organisations are made by operators, projects by administrators', async () => {
    const made = async (role: Role) => [
      await outcome(people.createOrganization(viewerOf(role), 'New')),
      await outcome(people.createProject(viewerOf(role), 'New')),
    ];
    expect(await Promise.all(ROLES.map(made))).toEqual([
      ['FORBIDDEN', 'FORBIDDEN'],
      ['FORBIDDEN', 'FORBIDDEN'],
      ['FORBIDDEN', 'ok'],
      ['ok', 'ok'],
    ]);
  });
});

describe('nobody locks everybody out', () => {
  it('by blocking or deleting himself', async () => {
    for (const { viewer } of [here.admin, here.operator]) {
      await expect(people.setUserBlocked(viewer, viewer.userId, true)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        argument: 'userId',
      });
      await expect(people.deleteUser(viewer, viewer.userId)).rejects.toMatchObject({
        code: 'BAD_USER_INPUT',
        argument: 'id',
      });
    }
  });

  it('by taking away the last operator, even when two demote each other at once', async () => {
    await database.db.query(`UPDATE users SET role = 'MEMBER' WHERE role = 'OPERATOR' AND id <> ALL($1)`, [
      [here.operator.id, there.operator.id],
    ]);
    const results = await Promise.all([
      outcome(people.setUserRole(here.operator.viewer, there.operator.id, 'ADMIN')),
      outcome(people.setUserRole(there.operator.viewer, here.operator.id, 'ADMIN')),
    ]);
    expect(results.sort()).toEqual(['BAD_USER_INPUT', 'ok']);
    const [row] = await database.db.query<{ id: string }>(`SELECT id FROM users WHERE role = 'OPERATOR'`);
    const left = row!.id === here.operator.id ? here.operator : there.operator;
    await expect(people.setUserRole(left.viewer, left.id, 'ADMIN')).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      argument: 'userId',
    });
  });
});
