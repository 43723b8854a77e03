import { watchLag } from '../../support/lag';
import { forever, type Answer } from '../../support/provider-script';
import type { RecordedRequest } from '../../support/provider';
import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { settledRow, settledRows } from '../../support/usage-rows';
import { eventually, waitFor } from '../../support/wait';
import type { Subscription, StreamEvent, TestWsClient } from '../../support/ws-client';

/** The streams of this file end with their last viewer. */
const CANCEL = { onDisconnect: 'CANCEL' };
/** Milliseconds within which the upstream has to be closed. */
const AT_ONCE = 100;

const LEAVE = {
  unsubscribes: (_client: TestWsClient, stream: Subscription<StreamEvent>) => stream.unsubscribe(),
  'loses the connection': (client: TestWsClient) => client.cut(),
};
const UPSTREAM: Record<string, Answer> = {
  'talks on': { pieces: Array<string>(20_000).fill('word '), pieceMs: 1 },
  'is silent': { pieces: ['one ', 'two ', 'three '], hold: { after: 3, until: forever } },
};

describe('a client that leaves in the middle of a stream that ends with it (CANCEL)', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  const lastCompletion = (): RecordedRequest =>
    fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;

  for (const [leaving, leave] of Object.entries(LEAVE)) {
    for (const [talking, script] of Object.entries(UPSTREAM)) {
      it(`who ${leaving} while the upstream ${talking}: the upstream is closed at once, the row says STOPPED and counts what came`, async () => {
        const { app, provider, member, database } = fixture;
        provider.script('test-chat', script);
        const client = app.connect(member.token);
        const stream = client.chatStream(ask('Tell me everything', CANCEL));
        const { callId } = await stream.waitFor((event) => event.__typename === 'StreamStarted');
        await stream.waitFor((event) => event.__typename === 'TextDelta' && event.text.length > 0);
        const request = lastCompletion();
        const lag = watchLag();
        const leftAt = performance.now();
        leave(client, stream);
        await eventually(request.closed, 'closing the upstream');
        expect(request.closedAt! - leftAt - lag.stop()).toBeLessThan(AT_ONCE);
        expect(request.finished).toBe(false);
        const row = await settledRow(database.db, callId);
        expect(row).toMatchObject({
          status: 'STOPPED',
          finish_reason: 'STOPPED',
          usage_source: 'ESTIMATED',
          error_code: null,
          streamed: true,
        });
        expect(row.prompt_tokens).toBeGreaterThan(0);
        expect(row.completion_tokens).toBeGreaterThan(0);
        expect(app.running.size).toBe(0);
        await client.close();
      });
    }

    it(`who ${leaving} before the first byte: nothing goes on, and the call has its one row`, async () => {
      const { app, provider, member, database } = fixture;
      provider.script('test-chat', { holdHead: forever });
      const before = provider.requests.length;
      const client = app.connect(member.token);
      const stream = client.chatStream(ask('Hello?', CANCEL));
      const { callId } = await stream.waitFor((event) => event.__typename === 'StreamStarted');
      const request = await waitFor(() =>
        provider.requests.slice(before).find(({ path }) => path === '/v1/chat/completions'),
      );
      const lag = watchLag();
      const leftAt = performance.now();
      leave(client, stream);
      await eventually(request.closed, 'closing the upstream');
      expect(request.closedAt! - leftAt - lag.stop()).toBeLessThan(AT_ONCE);
      expect(await settledRow(database.db, callId)).toMatchObject({ status: 'STOPPED', completion_tokens: 0 });
      await client.close();
    });
  }

  it('who changes their mind at any moment leaves nothing running and nothing in flight', async () => {
    const { app, provider, member, database } = fixture;
    provider.always('test-small', { pieces: ['a ', 'b ', 'c '], hold: { after: 3, until: forever } });
    const before = (await settledRows(database.db)).length;
    const client = app.connect(member.token);
    // Connected first, so that the moments below are moments of the operation.
    await client.subscribe(
      'subscription { chatStream(input: { model: "no-such-model", messages: [{ role: USER, content: "x" }] }) { __typename } }',
    ).ended;
    const started: string[] = [];
    for (let turns = 0; turns < 30; turns += 1) {
      const stream = client.chatStream(ask('Hello', { model: 'test-small', ...CANCEL }));
      // Some turns of the event loop later: before admission, in the middle of it, after it.
      for (let turn = 0; turn < turns * 3; turn += 1) await new Promise(setImmediate);
      stream.unsubscribe();
      const first = stream.events.find((event) => event.__typename === 'StreamStarted');
      if (first) started.push(first.callId);
    }
    await waitFor(() => app.running.size === 0 && provider.running === 0);
    const rows = (await settledRows(database.db)).slice(before);
    expect(rows.every(({ status }) => status === 'STOPPED')).toBe(true);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
    for (const id of started) expect(rows.map((row) => row.id)).toContain(id);
    await client.close();
  });
});
