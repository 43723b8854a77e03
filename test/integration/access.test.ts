import { newId, type IdKind, kindOfId } from '../../src/lib/ids';
import { AccessScene, type Answer } from '../support/access-scene';
import { createUser, type TestUser } from '../support/factories';
import { emittedSchema, probesIn, selectedFields, touchingFields, type Probe } from '../support/schema-walk';
import { ID_CASES, OBJECT_CASES, type IdCase, type ObjectCase, type PublicCase } from './access-cases';

const schema = emittedSchema();
const fields = touchingFields(schema);
const missingLike = (id: string): string => newId(kindOfId(id) as IdKind);
/** The same words for the same thing: ids that were asked for look alike, and so do the names of the askers' plans. */
const alike = (answer: Answer, id: string): string =>
  JSON.stringify(answer)
    .replaceAll(id, '<id>')
    .replaceAll(/plan [0-9a-f]{8}/g, '<plan>');
const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value);

describe('what belongs to others', () => {
  let scene: AccessScene;
  let ids: Record<string, string>;
  beforeAll(async () => {
    scene = await AccessScene.open();
    const conversation = await scene.conversation(scene.owner);
    const call = await scene.call(scene.owner, conversation);
    const { budget, alert } = await scene.budget();
    // One of each scope, so that a list without a filter would show.
    for (const world of [scene.ours, scene.theirs]) {
      for (const [scope, subjectId] of [
        ['ORGANIZATION', world.organizationId],
        ['PROJECT', await scene.project(world.organizationId)],
        ['API_TOKEN', world.member.tokenId],
      ] as const) {
        await scene.app.services.budgets.set(world.admin.viewer, {
          scope,
          subjectId,
          period: 'MONTH',
          limit: '1000000',
          timeZone: 'UTC',
          alertAtPercent: [],
        });
      }
    }
    ids = {
      budget,
      alert,
      user: scene.owner.id,
      organization: scene.ours.organizationId,
      project: await scene.project(scene.ours.organizationId),
      token: scene.owner.tokenId,
      conversation,
      message: await scene.message(scene.ours.organizationId, conversation, call),
      call,
    };
  });
  afterAll(() => scene.close());

  it('every field of the schema that takes an id or gives an object of ours has a case, and no case is about nothing', () => {
    expect(fields.takesId.length + fields.returnsObject.length).toBeGreaterThan(60);
    expect(Object.keys(ID_CASES).sort()).toEqual([...fields.takesId].sort());
    expect(Object.keys(OBJECT_CASES).sort()).toEqual([...fields.returnsObject].sort());
  });

  async function provePublic(field: string, { document, names, variables }: PublicCase): Promise<void> {
    expect(selectedFields(schema, document).all).toContain(field);
    for (const name of names(scene)) {
      const [ours, theirs] = [scene.ours.admin, scene.theirs.admin];
      expect(alike(await scene.answer(theirs, document, await variables(name, theirs, scene)), name)).toBe(
        alike(await scene.answer(ours, document, await variables(name, ours, scene)), name),
      );
    }
  }

  async function proveHidden(
    field: string,
    path: string,
    { document, variables, object, missing, strangers, owner, sameForOwner }: IdCase,
  ): Promise<void> {
    expect(selectedFields(schema, document).all).toContain(field);
    const id = await object(scene);
    const nothing = missing ?? missingLike(id);
    // The case fills the place that it is named after.
    expect([at(await variables(id, scene.owner, scene), path)].flat()).toEqual([id]);
    const askFor = async (user: TestUser, what: string): Promise<[Answer, string, string]> => {
      const given = await variables(what, user, scene);
      const before = await scene.state();
      return [await scene.answer(user, document, given), before, await scene.state()];
    };
    for (const stranger of strangers(scene)) {
      const [there, before, after] = await askFor(stranger, id);
      const [absent] = await askFor(stranger, nothing);
      expect({ who: stranger.viewer, answer: alike(there, id) }).toEqual({
        who: stranger.viewer,
        answer: alike(absent, nothing),
      });
      // And did nothing.
      expect(after).toBe(before);
    }
    // The owner tells them apart: the case can fail.
    const inCharge = owner?.(scene) ?? scene.owner;
    const [absent] = await askFor(inCharge, nothing);
    const [there] = await askFor(inCharge, id);
    expect(there.errors).toEqual([]);
    if (!sameForOwner) expect(alike(there, id)).not.toBe(alike(absent, nothing));
  }

  it.each(Object.entries(ID_CASES))(
    '%s: an object of others answers exactly like a missing one',
    async (coordinate, given) => {
      const [, field, path] = /^([^(]+)\((.+)\)$/.exec(coordinate) as unknown as [string, string, string];
      for (const one of [given].flat())
        await ('names' in one ? provePublic(field, one) : proveHidden(field, path, one));
    },
  );

  async function probesOf(user: TestUser, { documents, variables }: ObjectCase): Promise<Probe[]> {
    const found: Probe[] = [];
    for (const document of documents) {
      const wanted = [...document.matchAll(/\$(\w+):/g)].map(([, name]) => name!);
      const given = {
        ...(await variables?.(scene, user)),
        ...Object.fromEntries(wanted.filter((name) => name in ids).map((name) => [name, ids[name]])),
      };
      found.push(...probesIn((await scene.answer(user, document, given)).data));
    }
    return found;
  }

  it.each(Object.entries(OBJECT_CASES))(
    '%s: gives nobody an object that is not theirs to see',
    async (coordinate, given) => {
      for (const document of given.documents)
        expect([...selectedFields(schema, document).probed]).toEqual([coordinate]);
      const owner = given.owner?.(scene) ?? scene.owner;
      for (const user of scene.everybody) {
        const probes = await probesOf(user, given);
        if (user === owner) expect(probes).not.toEqual([]);
        for (const probe of probes)
          expect({ who: user.viewer, probe, visible: await scene.maySee(user, probe) }).toEqual({
            who: user.viewer,
            probe,
            visible: true,
          });
      }
    },
  );
});

/** Who may call each mutation at all. */
const NEEDS: Record<string, 'ADMIN' | 'OPERATOR' | null> = {
  chat: null,
  stopStream: null,
  createConversation: null,
  renameConversation: null,
  deleteConversation: null,
  createApiToken: null,
  revokeApiToken: null,
  exportUsage: null,
  setBudget: 'ADMIN',
  removeBudget: 'ADMIN',
  createProject: 'ADMIN',
  createUser: 'ADMIN',
  setUserPlan: 'ADMIN',
  setUserRole: 'ADMIN',
  setUserBlocked: 'ADMIN',
  deleteUser: 'ADMIN',
  createOrganization: 'OPERATOR',
  upsertPlan: 'OPERATOR',
  setModelPrice: 'OPERATOR',
};

describe('what roles may not do', () => {
  let scene: AccessScene;
  let spare: string;
  beforeAll(async () => {
    scene = await AccessScene.open();
  });
  afterAll(() => scene.close());

  const CALLS: Record<string, (target: string, planId: string) => string> = {
    createProject: () => 'createProject(name: "New") { id }',
    createUser: (_, planId) => `createUser(input: { name: "New", planId: "${planId}" }) { id }`,
    setUserPlan: (target, planId) => `setUserPlan(userId: "${target}", planId: "${planId}") { id }`,
    setUserRole: (target) => `setUserRole(userId: "${target}", role: ANALYST) { id }`,
    setUserBlocked: (target) => `setUserBlocked(userId: "${target}", blocked: true) { id }`,
    deleteUser: (target) => `deleteUser(id: "${target}") { deletedId }`,
    createOrganization: () => 'createOrganization(name: "New") { id }',
    setBudget: (target) =>
      `setBudget(input: { scope: USER, subjectId: "${target}", period: DAY, limit: "1000" }) { id }`,
    removeBudget: () => `removeBudget(id: "${spare}") { deletedId }`,
    setModelPrice: () =>
      'setModelPrice(input: { model: "m", effectiveFrom: "2026-01-01T00:00:00Z", inputPerMillion: "1", outputPerMillion: "1" }) { affectedCalls }',
    upsertPlan: () => 'upsertPlan(input: { name: "New", models: ["test-chat"] }) { id }',
  };
  const codes = async (user: TestUser, mutation: string): Promise<string[]> =>
    (await scene.answer(user, `mutation { ${mutation} }`, {})).errors.map(({ code }) => code);

  it('every mutation of the schema says here which role it needs', () => {
    expect(Object.keys(NEEDS).sort()).toEqual(Object.keys(schema.getMutationType()!.getFields()).sort());
    expect(Object.keys(CALLS).sort()).toEqual(
      Object.keys(NEEDS)
        .filter((name) => NEEDS[name] !== null)
        .sort(),
    );
  });

  it.each(Object.keys(CALLS))(
    '%s is forbidden below its role, whoever it is about, and changes nothing',
    async (name) => {
      const target = await scene.user();
      spare = (await scene.budget()).budget;
      const below =
        NEEDS[name] === 'OPERATOR'
          ? [scene.owner, scene.ours.analyst, scene.ours.admin]
          : [scene.owner, scene.ours.analyst];
      const before = await scene.state();
      for (const user of below)
        for (const id of [target, user.id, newId('user')])
          expect(await codes(user, CALLS[name]!(id, user.planId))).toEqual(['FORBIDDEN']);
      expect(await scene.state()).toBe(before);
      expect(
        await codes(
          NEEDS[name] === 'OPERATOR' ? scene.ours.operator : scene.ours.admin,
          CALLS[name]!(target, scene.ours.planId),
        ),
      ).toEqual([]);
    },
  );

  it('the list of users is for administrators', async () => {
    for (const user of [scene.owner, scene.ours.analyst])
      expect((await scene.answer(user, 'query { users { edges { node { id } } } }', {})).errors).toEqual([
        expect.objectContaining({ code: 'FORBIDDEN' }),
      ]);
  });

  it('an administrator makes nobody an operator, and touches none', async () => {
    const {
      ours: { admin, operator, planId, organizationId },
      database,
    } = scene;
    const second = await createUser(database.db, { organizationId, planId, role: 'OPERATOR' });
    const attempts = [
      `setUserRole(userId: "${await scene.user()}", role: OPERATOR) { id }`,
      `setUserRole(userId: "${admin.id}", role: OPERATOR) { id }`,
      `createUser(input: { name: "New", planId: "${planId}", role: OPERATOR }) { id }`,
      `setUserRole(userId: "${second.id}", role: MEMBER) { id }`,
      `setUserPlan(userId: "${second.id}", planId: "${planId}") { id }`,
      `setUserBlocked(userId: "${second.id}", blocked: true) { id }`,
      `deleteUser(id: "${second.id}") { deletedId }`,
      `createApiToken(input: { name: "In", userId: "${second.id}" }) { secret }`,
      `revokeApiToken(id: "${second.tokenId}") { id }`,
    ];
    const before = await scene.state();
    for (const attempt of attempts) expect([attempt, await codes(admin, attempt)]).toEqual([attempt, ['FORBIDDEN']]);
    expect(await scene.state()).toBe(before);
    for (const attempt of attempts.slice(3, 6))
      expect([attempt, await codes(operator, attempt)]).toEqual([attempt, []]);
  });
});
