import { gate } from '../../support/provider-script';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';

describe('stopping the server while a stream runs', () => {
  let fixture: Fixture;
  let stopped: Promise<void>;
  afterEach(async () => {
    await Promise.allSettled([stopped]);
    await fixture.provider.close();
    await fixture.database.close();
  });

  it('lets it finish, tells its end before the connection goes, and books it', async () => {
    fixture = await createFixture();
    const { app, member, provider, database } = fixture;
    const rest = gate();
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: rest } });
    const stream = app.connect(member.token).chatStream(ask('Go on'));
    const { callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    // The application alone: the client stays connected, as it would.
    stopped = fixture.stopServer();
    rest.open();
    await stream.ended;
    // A client that is cut off before `complete` reports an error, or asks again and pays again.
    expect(stream.errors).toEqual([]);
    expect(stream.events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
    await stopped;
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'COMPLETED' });
  });

  it('stops what does not finish in time, and says why', async () => {
    fixture = await createFixture({ config: { shutdownMs: 50 } });
    const { app, member, provider, database } = fixture;
    provider.script('test-chat', { pieces: ['one ', 'two'], hold: { after: 1, until: gate() } });
    const stream = app.connect(member.token).chatStream(ask('Go on'));
    const { callId } = await stream.waitFor(({ __typename }) => __typename === 'StreamStarted');
    await stream.waitFor(({ __typename }) => __typename === 'TextDelta');
    stopped = fixture.stopServer();
    await stream.ended;
    expect(stream.errors).toEqual([]);
    expect(stream.events.at(-1)).toMatchObject({ __typename: 'StreamStopped', reason: 'DEPLOY' });
    await stopped;
    expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED' });
  });
});
