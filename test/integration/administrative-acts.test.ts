import { createFixture, type Fixture } from '../support/stream-fixture';

describe('every administrative act', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  /** Does it as the operator; gives what came back under its one field, and the lines that it logged as acts. */
  async function act(document: string, variables: Record<string, unknown> = {}): Promise<{ given: any; lines: any[] }> {
    const { app, operator } = fixture;
    const from = app.log.length;
    const { data, errors } = await app.graphql(operator.token, document, variables);
    expect(errors).toBeNull();
    const lines = app.log.slice(from).filter(({ message }) => message === 'administrative act');
    return {
      given: Object.values(data)[0],
      lines: lines.map(({ level, object }) => ({ level, ...(object as object) })),
    };
  }
  const line = (
    action: string,
    id: string,
    organizationId: string | null,
    before: object | null,
    after: object | null,
  ): object => ({
    level: 'info',
    actor: fixture.operator.id,
    action,
    target: { id, organizationId },
    before,
    after,
  });

  it('on people and their tokens is one line: who did what to whom, and what changed', async () => {
    const { organizationId, planId } = fixture;
    const organization = await act('mutation { createOrganization(name: "Other") { id } }');
    expect(organization.lines).toEqual([
      line('organization.create', organization.given.id, organization.given.id, null, { name: 'Other' }),
    ]);
    const project = await act('mutation { createProject(name: "Search") { id } }');
    expect(project.lines).toEqual([line('project.create', project.given.id, organizationId, null, { name: 'Search' })]);

    const user = await act(
      'mutation ($planId: ID!) { createUser(input: { name: "Ann Example", email: "ann@example.org", role: MEMBER, planId: $planId }) { id } }',
      { planId },
    );
    const { id } = user.given;
    expect(user.lines).toEqual([
      line('user.create', id, organizationId, null, { role: 'MEMBER', planId, blocked: false }),
    ]);
    const role = await act('mutation ($id: ID!) { setUserRole(userId: $id, role: ANALYST) { id } }', { id });
    expect(role.lines).toEqual([line('user.set_role', id, organizationId, { role: 'MEMBER' }, { role: 'ANALYST' })]);

    const token = await act(
      'mutation ($id: ID!) { createApiToken(input: { userId: $id, name: "phone" }) { secret token { id } } }',
      { id },
    );
    const tokenId = token.given.token.id;
    expect(token.lines).toEqual([
      line('token.create', tokenId, organizationId, null, { userId: id, expiresAt: null, revokedAt: null }),
    ]);
    const revoked = await act('mutation ($id: ID!) { revokeApiToken(id: $id) { id revokedAt } }', { id: tokenId });
    expect(revoked.lines).toEqual([
      line(
        'token.revoke',
        tokenId,
        organizationId,
        { revokedAt: null },
        { revokedAt: new Date(revoked.given.revokedAt) },
      ),
    ]);

    const blocked = await act('mutation ($id: ID!) { setUserBlocked(userId: $id, blocked: true) { id } }', { id });
    expect(blocked.lines).toEqual([line('user.block', id, organizationId, { blocked: false }, { blocked: true })]);
    const unblocked = await act('mutation ($id: ID!) { setUserBlocked(userId: $id, blocked: false) { id } }', { id });
    expect(unblocked.lines).toEqual([line('user.unblock', id, organizationId, { blocked: true }, { blocked: false })]);
    const deleted = await act('mutation ($id: ID!) { deleteUser(id: $id) { deletedId } }', { id });
    expect(deleted.lines).toEqual([
      line('user.delete', id, organizationId, { role: 'ANALYST', planId, blocked: false }, null),
    ]);

    const acts = JSON.stringify(fixture.app.log.filter(({ message }) => message === 'administrative act'));
    for (const private_ of [token.given.secret, token.given.secret.slice(-4), 'Ann Example', 'ann@example.org'])
      expect(acts).not.toContain(private_);
  });

  it('on plans, budgets and prices is one line, with what was before and is now', async () => {
    const { organizationId, member } = fixture;
    const made = await act('mutation { upsertPlan(input: { name: "Small", models: ["test-chat"] }) { id } }');
    const planId = made.given.id;
    expect(made.lines).toMatchObject([
      line('plan.create', planId, null, null, { name: 'Small', models: ['test-chat'] }),
    ]);
    const edited = await act(
      'mutation ($id: ID!) { upsertPlan(input: { id: $id, name: "Small", models: [] }) { id } }',
      { id: planId },
    );
    expect(edited.lines).toEqual([line('plan.update', planId, null, { models: ['test-chat'] }, { models: [] })]);
    const moved = await act('mutation ($id: ID!, $planId: ID!) { setUserPlan(userId: $id, planId: $planId) { id } }', {
      id: member.id,
      planId,
    });
    expect(moved.lines).toEqual([
      line('user.set_plan', member.id, organizationId, { planId: fixture.planId }, { planId }),
    ]);

    const set = 'mutation ($input: BudgetInput!) { setBudget(input: $input) { id } }';
    const input = { scope: 'ORGANIZATION', subjectId: organizationId, period: 'MONTH', limit: '10' };
    const budget = await act(set, { input });
    const { id } = budget.given;
    expect(budget.lines).toMatchObject([
      line('budget.create', id, organizationId, null, { limit: '10', period: 'MONTH' }),
    ]);
    const raised = await act(set, { input: { ...input, id, limit: '20' } });
    expect(raised.lines).toEqual([line('budget.update', id, organizationId, { limit: '10' }, { limit: '20' })]);
    const removed = await act('mutation ($id: ID!) { removeBudget(id: $id) { deletedId } }', { id });
    expect(removed.lines).toMatchObject([line('budget.delete', id, organizationId, { limit: '20' }, null)]);

    const price =
      'mutation ($input: ModelPriceInput!, $dryRun: Boolean!) { setModelPrice(input: $input, dryRun: $dryRun) { affectedCalls } }';
    const edit = {
      model: 'test-chat',
      effectiveFrom: '2026-01-01T00:00:00Z',
      inputPerMillion: '1',
      outputPerMillion: '2',
    };
    expect((await act(price, { input: edit, dryRun: true })).lines).toEqual([]);
    const priced = await act(price, { input: edit, dryRun: false });
    expect(priced.lines).toMatchObject([
      {
        actor: fixture.operator.id,
        action: 'price.set',
        target: { organizationId: null },
        after: { model: 'test-chat', source: 'ADMIN', affectedCalls: 0 },
      },
    ]);
  });
});
