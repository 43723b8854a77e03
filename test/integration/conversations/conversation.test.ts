import { createFixture, type Fixture } from '../../support/stream-fixture';
import { gate } from '../../support/provider-script';
import { settledRow } from '../../support/usage-rows';

interface ShownMessage {
  id: string;
  role: string;
  content: string | null;
  complete: boolean;
  superseded: boolean;
}

describe('a conversation', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture();
  });
  afterAll(() => fixture.close());

  const run = async <D = any>(query: string, variables: Record<string, unknown> = {}): Promise<D> => {
    const { data, errors } = await fixture.app.graphql<D>(fixture.member.token, query, variables);
    expect(errors ?? []).toEqual([]);
    return data!;
  };
  const create = async (): Promise<string> =>
    (await run('mutation { createConversation(input: { title: "t" }) { id } }')).createConversation.id;
  const say = async (conversationId: string, content: string, more: Record<string, unknown> = {}): Promise<any> => {
    const { data, errors } = await fixture.app.chat(fixture.member.token, {
      model: 'test-chat',
      conversationId,
      messages: [{ role: 'USER', content }],
      ...more,
    });
    if (errors) throw new Error(errors[0]!.message);
    return data!.chat;
  };
  const messages = async (id: string): Promise<ShownMessage[]> =>
    (
      await run(
        'query ($id: ID!) { conversation(id: $id) { messages(first: 100) { edges { node { id role content complete superseded } } } } }',
        { id },
      )
    ).conversation.messages.edges.map((e: { node: ShownMessage }) => e.node);
  const current = async (id: string): Promise<(string | null)[]> =>
    (await messages(id)).filter((m) => !m.superseded).map((m) => m.content);
  const sent = (): { role: string; content: unknown }[] =>
    fixture.provider.requests.filter((r) => r.path === '/v1/chat/completions').at(-1)!.body.messages;
  const idOf = async (id: string, content: string): Promise<string> =>
    (await messages(id)).find((m) => m.content === content)!.id;

  it('sends what was said before, and stores question and answer', async () => {
    const id = await create();
    fixture.provider.script('test-chat', { pieces: ['one'] }, { pieces: ['two'] });
    await say(id, 'first');
    await say(id, 'second');
    expect(sent().map((m) => m.content)).toEqual(['first', 'one', 'second']);
    expect((await messages(id)).map((m) => [m.role, m.content, m.complete])).toEqual([
      ['USER', 'first', true],
      ['ASSISTANT', 'one', true],
      ['USER', 'second', true],
      ['ASSISTANT', 'two', true],
    ]);
  });

  it('goes on after an older message: what followed is kept and marked, and its branch can be taken up again', async () => {
    const id = await create();
    fixture.provider.script(
      'test-chat',
      { pieces: ['a1'] },
      { pieces: ['a2'] },
      { pieces: ['a2 again'] },
      { pieces: ['a3'] },
    );
    await say(id, 'q1');
    await say(id, 'q2');
    await say(id, 'q2 edited', { afterMessageId: await idOf(id, 'a1') });
    expect(sent().map((m) => m.content)).toEqual(['q1', 'a1', 'q2 edited']);
    expect(await current(id)).toEqual(['q1', 'a1', 'q2 edited', 'a2 again']);
    expect(await messages(id)).toHaveLength(6);
    await say(id, 'q3', { afterMessageId: await idOf(id, 'a2') });
    expect(sent().map((m) => m.content)).toEqual(['q1', 'a1', 'q2', 'a2', 'q3']);
    expect(await current(id)).toEqual(['q1', 'a1', 'q2', 'a2', 'q3', 'a3']);
    expect(await messages(id)).toHaveLength(8);
  });

  it('has one current branch when two calls continue it at once, and loses neither', async () => {
    const id = await create();
    const hold = gate();
    fixture.provider.script('test-chat', { pieces: ['left'], holdHead: hold }, { pieces: ['right'], holdHead: hold });
    const before = fixture.provider.running;
    const both = Promise.all([say(id, 'l'), say(id, 'r')]);
    while (fixture.provider.running < before + 2) await new Promise((resolve) => setImmediate(resolve));
    hold.open();
    await both;
    expect(await messages(id)).toHaveLength(4);
    const branch = await current(id);
    // One after the other where the second saw the first, side by side where it did not.
    expect(branch.length).toBeLessThan(4);
    await say(id, 'next');
    expect(sent().map((m) => m.content)).toEqual([...branch, 'next']);
  });

  it('keeps what came of an answer that was stopped, marked as cut, and nothing of one that failed at once', async () => {
    const id = await create();
    const hold = gate();
    fixture.provider.script(
      'test-chat',
      { pieces: ['half', ' rest'], hold: { after: 1, until: hold } },
      { status: 500, body: 'no' },
    );
    const client = fixture.app.connect(fixture.member.token);
    const stream = client.chatStream({
      model: 'test-chat',
      conversationId: id,
      messages: [{ role: 'USER', content: 'q' }],
    });
    const started = await stream.waitFor(({ __typename }) => __typename === 'TextDelta').then(() => stream.events[0]!);
    await run('mutation ($id: ID!) { stopStream(streamId: $id) { stopped } }', { id: started.streamId });
    expect((await messages(id)).map((m) => [m.content, m.complete])).toEqual([
      ['q', true],
      ['half', false],
    ]);
    expect((await say(id, 'again')).__typename).toBe('UpstreamFailed');
    expect((await messages(id)).map((m) => m.content)).toEqual(['q', 'half', 'again']);
    await client.close();
  });

  it('may be deleted while it is being answered: the call is booked all the same', async () => {
    const id = await create();
    const hold = gate();
    const index = fixture.provider.requests.filter((r) => r.path === '/v1/chat/completions').length;
    fixture.provider.script('test-chat', { pieces: ['late'], holdHead: hold });
    const answer = say(id, 'q');
    await fixture.provider.completion(index);
    await run('mutation ($id: ID!) { deleteConversation(id: $id) { deletedId } }', { id });
    hold.open();
    const reply = await answer;
    expect(reply).toMatchObject({ __typename: 'ChatReply', answer: { content: 'late' } });
    expect(await settledRow(fixture.database.db, reply.call.id)).toMatchObject({
      status: 'COMPLETED',
      conversation_id: id,
    });
    expect(await fixture.database.db.query('SELECT id FROM messages WHERE conversation_id = $1', [id])).toEqual([]);
  });

  it('stores text that Postgres itself would not take', async () => {
    const id = await create();
    fixture.provider.script('test-chat', { pieces: ['a\0b', '\ud83d'] });
    const reply = await say(id, 'lone \ud83d surrogate').catch((error: Error) => error.message);
    // Half a character in the question is refused by name; in the answer it is replaced.
    expect(reply).toMatch(/messages\[0\]\.content/);
    expect((await say(id, 'q')).answer.content).toBe('a\0b\ud83d');
    expect((await messages(id)).at(-1)!.content).toBe('a\ufffdb\ufffd');
  });

  it('answers others as if it were not there', async () => {
    const id = await create();
    const missing = 'conv_00000000000000000000000000';
    const ask = async (conversationId: string): Promise<unknown> => {
      const { errors } = await fixture.app.chat(fixture.admin.token, {
        model: 'test-chat',
        conversationId,
        messages: [{ role: 'USER', content: 'q' }],
      });
      return errors!.map((e) => [e.extensions.code, e.extensions.argument, e.message]);
    };
    expect(await ask(id)).toEqual(await ask(missing));
    expect(await ask(id)).toEqual([['NOT_FOUND', 'input.conversationId', expect.any(String)]]);
  });
});
