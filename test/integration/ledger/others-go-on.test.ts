import { Client } from 'pg';
import { createOrganization, createUser } from '../../support/factories';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { waitFor } from '../../support/wait';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await createFixture({ config: { shutdownMs: 10_000 } });
});
afterEach(() => fixture.close());

async function session(work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: fixture.database.url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

test('while a budget of one organisation is being made, its calls wait and those of others do not', async () => {
  const { app, database, member } = fixture;
  const other = await createUser(database.db, {
    organizationId: await createOrganization(database.db, 'Other'),
    planId: fixture.planId,
  });
  await session(async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT weir.lock_budgets($1)', [member.organizationId]);
    let answered = false;
    const waiting = app.chat(member.token, ask('wait')).then((reply) => {
      answered = true;
      return reply;
    });
    const replies = await Promise.all(Array.from({ length: 5 }, () => app.chat(other.token, ask('go on'))));
    expect(replies.map(({ data }) => data?.chat.__typename)).toEqual(Array(5).fill('ChatReply'));
    expect(answered).toBe(false);
    await client.query('COMMIT');
    expect((await waiting).data?.chat.__typename).toBe('ChatReply');
  });
});

test('a call that is being written down when the server is told to stop still runs, and is answered and booked', async () => {
  const { app, database, member } = fixture;
  // Admission stands still in the middle until it is let go.
  await database.db.query(
    'CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(77); RETURN NEW; END $$',
  );
  await database.db.query(
    'CREATE TRIGGER stand_still BEFORE INSERT ON calls_in_flight FOR EACH ROW EXECUTE FUNCTION stand_still()',
  );
  await session(async (client) => {
    await client.query('SELECT pg_advisory_lock(77)');
    const reply = app.chat(member.token, ask('late'));
    await waitFor(
      async () =>
        (await client.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted`))
          .rowCount! > 0,
      { what: 'the admission to stand still' },
    );
    const stopped = fixture.stopServer();
    await waitFor(() => app.running.isDraining, { what: 'the server to refuse new calls' });
    await client.query('SELECT pg_advisory_unlock(77)');
    expect((await reply).data?.chat.__typename).toBe('ChatReply');
    await stopped;
  });
  expect(await database.db.query('SELECT status FROM llm_usage')).toEqual([{ status: 'COMPLETED' }]);
  expect(await database.db.query('SELECT id FROM calls_in_flight')).toEqual([]);
});
