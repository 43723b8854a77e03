import { newId } from '../../../src/lib/ids';
import { seesBudget, type Owned } from '../../../src/services/budgets/budget.rule';
import { BudgetStore } from '../../../src/services/budgets/budget.store';
import type { Budget, BudgetScope } from '../../../src/domain/budget';
import type { Viewer } from '../../../src/domain/principal';
import { budgetBench, budgetOf, createProject, spend, type BudgetBench } from '../../support/budgets';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createToken, createUser, createWorld, type TestUser, type World } from '../../support/factories';

const NAMES = [
  'ourOrganization',
  'ourProject',
  'member',
  'colleague',
  'memberToken',
  'memberOtherToken',
  'colleagueToken',
  'theirOrganization',
  'theirMember',
  'theirToken',
] as const;
type Name = (typeof NAMES)[number];

describe('budgets and roles', () => {
  let database: TestDatabase;
  let bench: BudgetBench;
  let ours: World;
  let theirs: World;
  let colleague: TestUser;
  let subjects: Record<Name, [BudgetScope, string, ownerId: string | null, organizationId: string]>;
  let made: Record<Name, Budget>;
  let alerts: Record<string, string>;

  beforeAll(async () => {
    database = await createTestDatabase();
    const { db } = database;
    bench = budgetBench(database);
    ours = await createWorld(db, { name: 'Ours' });
    theirs = await createWorld(db, { name: 'Theirs' });
    colleague = await createUser(db, { organizationId: ours.organizationId, planId: ours.planId });
    const other = await createToken(db, ours.member);
    const project = await createProject(db, ours.organizationId);
    const [o, t] = [ours.organizationId, theirs.organizationId];
    subjects = {
      ourOrganization: ['ORGANIZATION', o, null, o],
      ourProject: ['PROJECT', project, null, o],
      member: ['USER', ours.member.id, null, o],
      colleague: ['USER', colleague.id, null, o],
      memberToken: ['API_TOKEN', ours.member.tokenId, ours.member.id, o],
      memberOtherToken: ['API_TOKEN', other.tokenId, ours.member.id, o],
      colleagueToken: ['API_TOKEN', colleague.tokenId, colleague.id, o],
      theirOrganization: ['ORGANIZATION', t, null, t],
      theirMember: ['USER', theirs.member.id, null, t],
      theirToken: ['API_TOKEN', theirs.member.tokenId, theirs.member.id, t],
    };
    made = {} as typeof made;
    for (const name of NAMES)
      made[name] = await bench.budgets.set(
        ours.operator.viewer,
        budgetOf({ scope: subjects[name][0], subjectId: subjects[name][1], limit: '1', alertAtPercent: [50] }),
      );
    // Every budget has an alert.
    for (const [user, tokenId] of [
      [ours.member, ours.member.tokenId],
      [ours.member, other.tokenId],
      [colleague, colleague.tokenId],
      [theirs.member, theirs.member.tokenId],
    ] as const) {
      for (const cost of ['0.01', '0.2'])
        await spend(db, user, cost, { tokenId, projectId: user === theirs.member ? null : project });
    }
    await db.query('UPDATE budgets SET alert_at_percent = $1', [[1]]);
    await db.query('SELECT weir.check_alerts(organization_id, array_agg(id)) FROM budgets GROUP BY organization_id');
    const rows = await db.query<{ id: string; budget_id: string }>(
      'SELECT id, budget_id FROM budget_alerts WHERE percent = 1',
    );
    alerts = Object.fromEntries(rows.map((row) => [row.budget_id, row.id]));
  });
  afterAll(() => database.close());

  const OURS: Name[] = [
    'ourOrganization',
    'ourProject',
    'member',
    'colleague',
    'memberToken',
    'memberOtherToken',
    'colleagueToken',
  ];
  const SEEN: Record<string, [() => Viewer, Name[]]> = {
    'a member': [
      () => ours.member.viewer,
      ['ourOrganization', 'ourProject', 'member', 'memberToken', 'memberOtherToken'],
    ],
    'a colleague': [() => colleague.viewer, ['ourOrganization', 'ourProject', 'colleague', 'colleagueToken']],
    'an analyst': [() => ours.analyst.viewer, OURS],
    'an administrator': [() => ours.admin.viewer, OURS],
    'an operator': [() => ours.operator.viewer, [...NAMES]],
    'an operator of another organisation': [() => theirs.operator.viewer, [...NAMES]],
    'a member of another organisation': [
      () => theirs.member.viewer,
      ['theirOrganization', 'theirMember', 'theirToken'],
    ],
    'an administrator of another organisation': [
      () => theirs.admin.viewer,
      ['theirOrganization', 'theirMember', 'theirToken'],
    ],
  };
  const namesOf = (budgets: readonly Budget[]): Name[] =>
    NAMES.filter((name) => budgets.some(({ id }) => id === made[name].id));

  it.each(Object.keys(SEEN))(
    '%s sees what is theirs to see, by scope, by subject, by id and as an alert, and nothing else',
    async (who) => {
      const [viewerOf, seen] = SEEN[who]!;
      const viewer = viewerOf();
      for (const scope of ['ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN'] as const) {
        expect(namesOf(await bench.budgets.list(viewer, { scope }))).toEqual(
          seen.filter((name) => subjects[name][0] === scope).sort((a, b) => NAMES.indexOf(a) - NAMES.indexOf(b)),
        );
      }
      for (const name of NAMES) {
        const [scope, subjectId, ownerId, organizationId] = subjects[name];
        const may = seen.includes(name);
        expect({ name, found: namesOf(await bench.budgets.list(viewer, { subjectId })) }).toEqual({
          name,
          found: may ? [name] : [],
        });
        expect(await bench.budgets.list(viewer, { subjectId, scope: scope === 'USER' ? 'PROJECT' : 'USER' })).toEqual(
          [],
        );
        expect((await bench.budgets.get(viewer, made[name].id))?.id).toBe(may ? made[name].id : undefined);
        expect((await bench.budgets.alert(viewer, alerts[made[name].id]!))?.budgetId).toBe(
          may ? made[name].id : undefined,
        );
        // The rule that filters what is delivered says the same as the one of the lists.
        expect(seesBudget(viewer, { scope, subjectId, ownerId, organizationId } satisfies Owned)).toBe(may);
      }
    },
  );

  it('without arguments, those that apply: of the organisation, the user and the token used; a JWT has no token', async () => {
    const { viewer } = ours.member;
    const applying = await bench.budgets.list(viewer, {});
    expect(applying.map(({ scope }) => scope)).toEqual(['ORGANIZATION', 'USER', 'API_TOKEN']);
    expect(namesOf(applying)).toEqual(['ourOrganization', 'member', 'memberToken']);
    expect(namesOf(await bench.budgets.list({ ...viewer, tokenId: null }, {}))).toEqual(['ourOrganization', 'member']);
    expect(namesOf(await bench.budgets.list(ours.analyst.viewer, {}))).toEqual(['ourOrganization']);
    expect(await bench.budgets.applyTo(viewer)).toBe(true);
    const alone = await createWorld(database.db);
    expect(await bench.budgets.applyTo(alone.member.viewer)).toBe(false);
  });

  it('members and analysts set and remove none, whether they see it or not', async () => {
    for (const { viewer } of [ours.member, ours.analyst]) {
      for (const name of ['member', 'ourOrganization', 'theirMember'] as const) {
        const [scope, subjectId] = subjects[name];
        await expect(bench.budgets.set(viewer, budgetOf({ scope, subjectId }))).rejects.toMatchObject({
          code: 'FORBIDDEN',
        });
        await expect(
          bench.budgets.set(viewer, budgetOf({ id: made[name].id, scope, subjectId })),
        ).rejects.toMatchObject({ code: 'FORBIDDEN' });
        await expect(bench.budgets.remove(viewer, made[name].id)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      }
    }
  });

  it('an administrator makes, changes and removes budgets of every scope of the organisation', async () => {
    const { viewer } = ours.admin;
    for (const name of ['ourOrganization', 'ourProject', 'member', 'memberToken'] as const) {
      const [scope, subjectId] = subjects[name];
      const budget = await bench.budgets.set(viewer, budgetOf({ scope, subjectId, limit: '7.50' }));
      expect(budget).toMatchObject({
        scope,
        subjectId,
        limit: '7.5',
        byOperator: false,
        planId: null,
        organizationId: ours.organizationId,
      });
      expect(await bench.budgets.set(viewer, budgetOf({ id: budget.id, scope, subjectId, limit: '8' }))).toMatchObject({
        id: budget.id,
        limit: '8',
        byOperator: false,
      });
      expect(await bench.budgets.remove(viewer, budget.id)).toBe(budget.id);
      expect(await bench.budgets.get(viewer, budget.id)).toBeNull();
    }
  });

  it('what an operator has set, an administrator cannot change or remove, and is told so', async () => {
    const [scope, subjectId] = subjects.member;
    const refused = { code: 'FORBIDDEN', public: expect.stringContaining('operator') as string };
    await expect(
      bench.budgets.set(ours.admin.viewer, budgetOf({ id: made.member.id, scope, subjectId, limit: '1000' })),
    ).rejects.toMatchObject(refused);
    await expect(bench.budgets.remove(ours.admin.viewer, made.member.id)).rejects.toMatchObject(refused);
    // Also one that the administrator had made, once the operator has changed it.
    const budget = await bench.budgets.set(ours.admin.viewer, budgetOf({ scope, subjectId }));
    await bench.budgets.set(ours.operator.viewer, budgetOf({ id: budget.id, scope, subjectId, limit: '3' }));
    await expect(
      bench.budgets.set(ours.admin.viewer, budgetOf({ id: budget.id, scope, subjectId, limit: '1000' })),
    ).rejects.toMatchObject(refused);
    expect(await bench.budgets.get(ours.admin.viewer, budget.id)).toMatchObject({ limit: '3', byOperator: true });
    await bench.budgets.remove(ours.operator.viewer, budget.id);
  });

  it("somebody else's budget or subject answers like one that is not there", async () => {
    const { viewer } = theirs.admin;
    for (const name of OURS) {
      const [scope, subjectId] = subjects[name];
      for (const id of [made[name].id, newId('budget')]) {
        await expect(bench.budgets.set(viewer, budgetOf({ id, scope, subjectId }))).rejects.toMatchObject({
          code: 'NOT_FOUND',
          argument: 'id',
          public: 'id: there is no such object.',
        });
        await expect(bench.budgets.remove(viewer, id)).rejects.toMatchObject({ code: 'NOT_FOUND', argument: 'id' });
      }
      await expect(bench.budgets.set(viewer, budgetOf({ scope, subjectId }))).rejects.toMatchObject({
        code: 'NOT_FOUND',
        argument: 'subjectId',
      });
    }
    for (const [scope, subjectId] of [
      ['USER', newId('user')],
      ['PROJECT', newId('project')],
      ['ORGANIZATION', newId('organization')],
      ['API_TOKEN', newId('apiToken')],
      ['USER', 'nobody'],
    ] as const) {
      await expect(bench.budgets.set(ours.operator.viewer, budgetOf({ scope, subjectId }))).rejects.toMatchObject({
        code: 'NOT_FOUND',
        argument: 'subjectId',
      });
    }
  });

  it('an existing budget keeps its subject', async () => {
    const { id } = made.member;
    await expect(
      bench.budgets.set(ours.operator.viewer, budgetOf({ id, scope: 'USER', subjectId: colleague.id })),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'subjectId' });
    await expect(
      bench.budgets.set(ours.operator.viewer, budgetOf({ id, scope: 'ORGANIZATION', subjectId: ours.organizationId })),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'scope' });
  });

  it('a subject has at most twenty, also when they are asked for at once', async () => {
    const user = await createUser(database.db, { organizationId: ours.organizationId, planId: ours.planId });
    const edit = budgetOf({ scope: 'USER', subjectId: user.id });
    const results = await Promise.allSettled(
      Array.from({ length: 22 }, () => bench.budgets.set(ours.admin.viewer, edit)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(20);
    expect(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))).toEqual([
      'BAD_USER_INPUT',
      'BAD_USER_INPUT',
    ]);
    expect(await bench.budgets.list(ours.admin.viewer, { subjectId: user.id })).toHaveLength(20);
  });

  it('every zone that Intl lists is taken, and one that Postgres does not know is refused', async () => {
    const edit = budgetOf({ id: made.colleague.id, scope: 'USER', subjectId: colleague.id });
    for (const timeZone of ['UTC', ...Intl.supportedValuesOf('timeZone').filter((_, index) => index % 25 === 0)]) {
      expect(await bench.budgets.set(ours.operator.viewer, { ...edit, timeZone })).toMatchObject({ timeZone });
    }
    const store = new BudgetStore(database.db);
    const unknown: string[] = [];
    for (const zone of Intl.supportedValuesOf('timeZone')) if (!(await store.knowsZone(zone))) unknown.push(zone);
    expect(unknown).toEqual([]);
    expect(await store.knowsZone('Europe/Nowhere')).toBe(false);
    await expect(
      bench.budgets.set(ours.operator.viewer, { ...edit, timeZone: 'Europe/Nowhere' }),
    ).rejects.toMatchObject({ code: 'BAD_USER_INPUT', argument: 'timeZone' });
  });
});
