import { startTestApp, type TestApp } from '../../support/app';
import { createToken, createUser } from '../../support/factories';
import { watchLag } from '../../support/lag';
import { createFixture, type Fixture } from '../../support/stream-fixture';
import { waitFor } from '../../support/wait';

/**
 * From the answer of a mutation until every replica refuses; the second one while a replica cannot hear of it.
 * Milliseconds.
 */
const AT_ONCE_MS = 1_000;
const UNHEARD_MS = 2_000;
/** What a machine that runs other suites meanwhile may take on top. Less than what tells a notice from its absence. */
const SLACK_MS = 500;

const REVOKE = 'mutation ($id: ID!) { revokeApiToken(id: $id) { id } }';
const BLOCK = 'mutation ($id: ID!) { setUserBlocked(userId: $id, blocked: true) { id } }';
const DELETE = 'mutation ($id: ID!) { deleteUser(id: $id) { deletedId } }';

describe('two replicas: who loses access at one of them', () => {
  let fixture: Fixture;
  let other: TestApp;
  beforeAll(async () => {
    fixture = await createFixture();
    fixture.provider.always('test-chat', { pieces: ['Hello.'] });
    other = await startTestApp({ database: fixture.database, upstream: fixture.provider });
  });
  afterAll(async () => {
    await other.stop();
    await fixture.close();
  });

  /** The code of the refusal; null: it was let in, and its chat was paid. */
  const ask = async (token: string): Promise<string | null> => {
    const { errors } = await other.chat(token, { model: 'test-chat', messages: [{ role: 'USER', content: 'Hi.' }] });
    return errors?.[0]?.extensions?.code ?? null;
  };
  /**
   * Lets the other replica remember the token, changes its access at the first one, and gives after how long the other
   * one refuses.
   */
  const refusedAfter = async (token: string, document: string, id: string): Promise<number> => {
    expect(await ask(token)).toBeNull();
    const { errors } = await fixture.app.graphql(fixture.operator.token, document, { id });
    expect(errors).toBeNull();
    const answeredAt = performance.now();
    const lag = watchLag();
    await waitFor(async () => (await ask(token)) === 'UNAUTHENTICATED');
    return performance.now() - answeredAt - lag.stop();
  };
  const newUser = () =>
    createUser(fixture.database.db, { organizationId: fixture.organizationId, planId: fixture.planId });

  it('by a revoked token is refused by the other one at once, and another token of the same user is not', async () => {
    const user = await newUser();
    const { token, tokenId } = await createToken(fixture.database.db, user);
    expect(await refusedAfter(token, REVOKE, tokenId)).toBeLessThan(AT_ONCE_MS);
    expect(await ask(user.token)).toBeNull();
  });

  it.each([
    ['blocked', BLOCK],
    ['deleted', DELETE],
  ])('by being %s is refused by the other one at once', async (_, document) => {
    const user = await newUser();
    expect(await refusedAfter(user.token, document, user.id)).toBeLessThan(AT_ONCE_MS);
  });

  it('is refused within two seconds by one that cannot hear of it', async () => {
    const user = await newUser();
    const deafen = setInterval(
      () =>
        void fixture.database.db.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir-access' AND datname = current_database()`,
        ),
      20,
    );
    try {
      await waitFor(() =>
        other.log.some(({ message }) => message === 'the connection that listens for changes of access was lost'),
      );
      expect(await refusedAfter(user.token, BLOCK, user.id)).toBeLessThan(UNHEARD_MS + SLACK_MS);
    } finally {
      clearInterval(deafen);
    }
  });
});
