import { newId } from '../../../src/lib/ids';
import { encodeCursor } from '../../../src/lib/page';
import { ConversationService } from '../../../src/services/conversations/conversation.service';
import { ConversationStore } from '../../../src/services/conversations/conversation.store';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';

const MB = 1024 * 1024;
let database: TestDatabase;
let world: World;
let store: ConversationStore;
let service: ConversationService;
let conversationId: string;
beforeAll(async () => {
  database = await createTestDatabase();
  world = await createWorld(database.db);
  store = new ConversationStore(database.db);
  service = new ConversationService({ store, people: { visibleProject: async () => null } });
});
afterAll(() => database.close());
beforeEach(async () => {
  conversationId = (await service.create(world.member.viewer, { title: 't' })).id;
});

interface Given {
  role?: string;
  content?: string;
  partsOf?: number;
}
/** One after the other, each following the one before. */
async function write(messages: Given[]): Promise<string[]> {
  const ids = messages.map(() => newId('message'));
  await database.db.query(
    `INSERT INTO messages (organization_id, id, conversation_id, parent_id, position, role, content, parts)
     SELECT $1, id, $2, parent_id, place, role, content,
       CASE WHEN size > 0 THEN jsonb_build_array(jsonb_build_object('text', repeat('x', size))) END
     FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::int[])
       WITH ORDINALITY AS m(id, parent_id, role, content, size, place)`,
    [
      world.organizationId,
      conversationId,
      ids,
      ids.map((_, i) => ids[i - 1] ?? null),
      messages.map((m) => m.role ?? 'USER'),
      messages.map((m) => m.content ?? 'x'),
      messages.map((m) => m.partsOf ?? 0),
    ],
  );
  return ids;
}
const branch = async (after: string | null = null) => {
  const found = (await store.branch(world.member.viewer, conversationId, after))!;
  return { ...found, kept: found.messages.map(({ id }) => id) };
};
const turns = (count: number, size: number): Given[] =>
  Array.from({ length: count }, (_, i) => ({ role: i % 2 ? 'ASSISTANT' : 'USER', content: 'y'.repeat(size) }));

describe('a branch that a call continues', () => {
  it.each(['the current one', 'one by its last message'])(
    'has its newest messages up to 8 MB, and says how many are not there: %s',
    async (which) => {
      const ids = await write([{ role: 'SYSTEM', content: 'be brief' }, ...turns(12, MB)]);
      const found = await branch(which === 'the current one' ? null : ids.at(-1)!);
      expect(found.ids).toEqual(ids);
      // Seven fit; the oldest of them is an answer whose question is not there.
      expect(found.kept).toEqual([ids[0], ...ids.slice(-6)]);
      expect(found.omitted).toBe(6);
    },
  );

  it('is whole where it fits', async () => {
    const ids = await write([{ role: 'ASSISTANT' }, ...turns(9, 10)]);
    expect(await branch()).toMatchObject({ ids, kept: ids, omitted: 0 });
  });

  it('of very many messages has the newest 2,000 and those of the system', async () => {
    const ids = await write([{ role: 'SYSTEM' }, ...turns(2_100, 5)]);
    const found = await branch();
    expect(found.ids).toHaveLength(2_101);
    expect(found.kept).toEqual([ids[0], ...ids.slice(-2_000)]);
    expect(found.omitted).toBe(100);
  });

  it('counts JSON as what it is, not as it is stored', async () => {
    const ids = await write(Array.from({ length: 6 }, () => ({ partsOf: 3 * MB })));
    expect((await branch()).kept).toEqual(ids.slice(-2));
  });

  it('has no more than that of system messages, either', async () => {
    const ids = await write([
      ...Array.from({ length: 4 }, () => ({ role: 'SYSTEM', content: 'z'.repeat(3 * MB) })),
      { role: 'USER' },
    ]);
    expect(await branch()).toMatchObject({ kept: [ids[2], ids[3]], omitted: 3 });
  });

  it('never begins with the result of a tool whose call is not there', async () => {
    const ids = await write([
      { role: 'USER' },
      { role: 'ASSISTANT', content: 'y'.repeat(5 * MB) },
      { role: 'TOOL', content: 'y'.repeat(3 * MB) },
      { role: 'ASSISTANT' },
      { role: 'TOOL' },
    ]);
    expect((await branch()).kept).toEqual(ids.slice(3));
  });

  it('is empty for a conversation without messages, and null for a message of another one', async () => {
    expect(await branch()).toMatchObject({ ids: [], kept: [], omitted: 0 });
    const [elsewhere] = await write([{}]);
    const other = await service.create(world.member.viewer, {});
    expect(await store.branch(world.member.viewer, other.id, elsewhere!)).toBeNull();
  });
});

describe('a page of messages', () => {
  it('ends after 8 MB, has at least one, and goes on where it ended', async () => {
    const ids = await write([...turns(5, 3 * MB), { content: 'y'.repeat(9 * MB) }, {}, {}]);
    const pages: string[][] = [];
    let after: string | null = null;
    for (;;) {
      const page: Awaited<ReturnType<ConversationService['messages']>> = await service.messages(
        world.member.viewer,
        conversationId,
        { first: 100, after },
      );
      pages.push(page.edges.map(({ node }) => node.id));
      if (!page.hasNextPage) break;
      after = page.edges.at(-1)!.cursor;
    }
    expect(pages).toEqual([ids.slice(0, 2), ids.slice(2, 4), ids.slice(4, 5), ids.slice(5, 6), ids.slice(6)]);
  });

  it('of small messages has as many as asked for', async () => {
    const ids = await write(turns(5, 10));
    const first = await service.messages(world.member.viewer, conversationId, { first: 3, after: null });
    expect([first.edges.map(({ node }) => node.id), first.hasNextPage, first.hasPreviousPage]).toEqual([
      ids.slice(0, 3),
      true,
      false,
    ]);
    const rest = await service.messages(world.member.viewer, conversationId, {
      first: 3,
      after: first.edges.at(-1)!.cursor,
    });
    expect([rest.edges.map(({ node }) => node.id), rest.hasNextPage, rest.hasPreviousPage]).toEqual([
      ids.slice(3),
      false,
      true,
    ]);
    expect(
      await service.messages(world.member.viewer, conversationId, { first: 3, after: rest.edges.at(-1)!.cursor }),
    ).toEqual({ edges: [], hasNextPage: false, hasPreviousPage: true });
  });
});

describe('a cursor that is none of ours', () => {
  const refused = { code: 'BAD_USER_INPUT', argument: 'after' };
  it.each([
    ['1', 'x'],
    ['2026', 'x'],
    ['2026-02-30T00:00:00.000000Z', 'x'],
    ['2026-02-30 00:00:00+00', 'x'],
    ['+275760-09-13', 'x'],
    ['0000-01-01T00:00:00.000000Z', 'x'],
    ['infinity', 'x'],
    ['2026-11-20T10:00:00.000000Z', 1],
    ['2026-11-20T10:00:00.000000Z', '\ud800'],
  ])('is refused by the list of conversations: %j', async (...key) => {
    await expect(service.list(world.member.viewer, { first: 1, after: encodeCursor(key) })).rejects.toMatchObject(
      refused,
    );
  });
  it.each([[1.5], ['1'], [1e300], [null as never], [1, 2]])(
    'is refused by the list of messages: %j',
    async (...key) => {
      await expect(
        service.messages(world.member.viewer, conversationId, { first: 1, after: encodeCursor(key) }),
      ).rejects.toMatchObject(refused);
    },
  );

  it('while those of ours lead through conversations of the same moment', async () => {
    const mine = await createWorld(database.db);
    const made = await database.db.query<{ id: string }>(
      `INSERT INTO conversations (id, organization_id, user_id, created_at) SELECT 'conv_' || n, $1, $2, '2026-11-20T10:00:00.500001Z' FROM generate_series(1, 5) n RETURNING id`,
      [mine.organizationId, mine.member.id],
    );
    const seen: string[] = [];
    for (let after: string | null = null; ;) {
      const page: Awaited<ReturnType<ConversationService['list']>> = await service.list(mine.member.viewer, {
        first: 2,
        after,
      });
      seen.push(...page.edges.map(({ node }) => node.id));
      if (!page.hasNextPage) break;
      after = page.edges.at(-1)!.cursor;
    }
    expect(seen).toEqual(made.map(({ id }) => id).reverse());
  });
});
