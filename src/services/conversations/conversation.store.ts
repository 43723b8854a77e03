import type { Db } from '../../database/pool';
import type { Viewer } from '../../domain/principal';
import type { ContentPart, Conversation, Message, MessageRole, ToolCall } from '../../domain/conversation';

interface ConversationSql {
  id: string;
  organization_id: string;
  user_id: string;
  project_id: string | null;
  title: string | null;
  head_id: string | null;
  created_at: Date;
  updated_at: Date;
}
interface MessageSql {
  id: string;
  conversation_id: string;
  position: string;
  role: MessageRole;
  content: string | null;
  reasoning: string | null;
  parts: ContentPart[] | null;
  tool_calls: ToolCall[] | null;
  tool_call_id: string | null;
  name: string | null;
  complete: boolean;
  superseded: boolean;
  call_id: string | null;
  created_at: Date;
}

const mapConversation = (row: ConversationSql): Conversation => ({
  id: row.id,
  organizationId: row.organization_id,
  userId: row.user_id,
  projectId: row.project_id,
  title: row.title,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});
const mapMessage = (row: MessageSql): Message => ({
  id: row.id,
  conversationId: row.conversation_id,
  role: row.role,
  content: row.content,
  reasoning: row.reasoning,
  parts: row.parts ?? [],
  toolCalls: row.tool_calls ?? [],
  toolCallId: row.tool_call_id,
  name: row.name,
  createdAt: row.created_at,
  complete: row.complete,
  superseded: row.superseded,
  callId: row.call_id,
});

/** A conversation with the branch that a call continues. */
export interface Branch {
  conversation: Conversation;
  headId: string | null;
  /** The whole way from the first message to the one that the call follows. */
  ids: string[];
  /**
   * Of the way, oldest first: system messages, then the newest, as far as `MAX_BRANCH_MESSAGES` and `MAX_BYTES` go. No
   * tool result is without its call.
   */
  messages: Message[];
  /** How many of the way are not in `messages`. */
  omitted: number;
}

/** Bytes of text that one reading of messages may bring into memory. */
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_BRANCH_MESSAGES = 2_000;

// Postgres knows the length of a stored text without reading it. Of JSON it knows the compressed size only: that bounds
// how much is read for the real one.
const TEXT = `octet_length(coalesce(content, '')) + octet_length(coalesce(reasoning, ''))`;
const STORED_BYTES = `${TEXT} + coalesce(pg_column_size(parts), 0) + coalesce(pg_column_size(tool_calls), 0)`;
const BYTES = `${TEXT} + coalesce(octet_length(parts::text), 0) + coalesce(octet_length(tool_calls::text), 0)`;
/** Rows in an order, until there are MAX_BYTES; at least the first one. */
const bounded = (rows: string, order: string): string => `
  SELECT * FROM (
    SELECT *, row_number() OVER read AS place, sum(${BYTES}) OVER read AS total FROM (
      SELECT *, row_number() OVER stored AS stored_place, sum(${STORED_BYTES}) OVER stored AS stored_total FROM (${rows}) AS rows WINDOW stored AS (ORDER BY ${order})
    ) AS candidates WHERE stored_place = 1 OR stored_total <= ${MAX_BYTES} WINDOW read AS (ORDER BY ${order})
  ) AS measured WHERE place = 1 OR total <= ${MAX_BYTES}`;

/** Whose conversations: nobody else finds them. */
type Owner = Pick<Viewer, 'organizationId' | 'userId'>;

export class ConversationStore {
  constructor(private readonly db: Db) {}

  async insert(conversation: {
    id: string;
    organizationId: string;
    userId: string;
    projectId: string | null;
    title: string | null;
  }): Promise<Conversation> {
    const [row] = await this.db.query<ConversationSql>(
      'INSERT INTO conversations (organization_id, id, user_id, project_id, title) VALUES ($1, $2, $3, $4, $5) RETURNING *',
      [conversation.organizationId, conversation.id, conversation.userId, conversation.projectId, conversation.title],
    );
    return mapConversation(row!);
  }

  async rename({ organizationId, userId }: Owner, id: string, title: string): Promise<Conversation | null> {
    const [row] = await this.db.query<ConversationSql>(
      'UPDATE conversations SET title = $4, updated_at = weir.now() WHERE organization_id = $1 AND id = $2 AND user_id = $3 RETURNING *',
      [organizationId, id, userId, title],
    );
    return row ? mapConversation(row) : null;
  }

  /**
   * With the answers of its calls that are kept for repetitions; those that still run find their key gone, and keep
   * nothing.
   */
  async remove({ organizationId, userId }: Owner, id: string): Promise<boolean> {
    return this.db.transaction(async (tx) => {
      // The lock keeps new calls out, and comes before that of the keys, as in admission and settlement.
      const [found] = await tx.query(
        'SELECT FROM conversations WHERE organization_id = $1 AND id = $2 AND user_id = $3 FOR UPDATE',
        [organizationId, id, userId],
      );
      if (!found) return false;
      await tx.query(
        `WITH gone AS (
           SELECT user_id, key FROM idempotency_keys WHERE organization_id = $1 AND user_id = $3 AND call_id IN (
             SELECT call_id FROM messages WHERE organization_id = $1 AND conversation_id = $2 AND call_id IS NOT NULL
             UNION ALL SELECT id FROM calls_in_flight WHERE organization_id = $1 AND conversation_id = $2)
           ORDER BY user_id, key FOR UPDATE)
         DELETE FROM idempotency_keys AS k USING gone WHERE k.organization_id = $1 AND k.user_id = gone.user_id AND k.key = gone.key`,
        [organizationId, id, userId],
      );
      await tx.query('DELETE FROM conversations WHERE organization_id = $1 AND id = $2', [organizationId, id]);
      return true;
    });
  }

  async find({ organizationId, userId }: Owner, id: string): Promise<Conversation | null> {
    const [row] = await this.db.query<ConversationSql>(
      'SELECT * FROM conversations WHERE organization_id = $1 AND id = $2 AND user_id = $3',
      [organizationId, id, userId],
    );
    return row ? mapConversation(row) : null;
  }

  /** Newest first, one row more than `first`. The key is text, because a JavaScript date would cut the microseconds. */
  async page(
    { organizationId, userId }: Owner,
    first: number,
    after: readonly [time: string, id: string] | null,
  ): Promise<{ conversation: Conversation; key: readonly [string, string] }[]> {
    const rows = await this.db.query<ConversationSql & { key: string }>(
      `SELECT *, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS key FROM conversations
       WHERE organization_id = $1 AND user_id = $2 AND ($4::timestamptz IS NULL OR (created_at, id) < ($4::timestamptz, $5))
       ORDER BY created_at DESC, id DESC LIMIT $3`,
      [organizationId, userId, first + 1, after?.[0] ?? null, after?.[1] ?? null],
    );
    return rows.map((row) => ({ conversation: mapConversation(row), key: [row.key, row.id] }));
  }

  async message({ organizationId, userId }: Owner, id: string): Promise<Message | null> {
    const [row] = await this.db.query<MessageSql>(
      `SELECT m.* FROM messages m JOIN conversations c ON c.organization_id = m.organization_id AND c.id = m.conversation_id
       WHERE m.organization_id = $1 AND m.id = $2 AND c.user_id = $3`,
      [organizationId, id, userId],
    );
    return row ? mapMessage(row) : null;
  }

  /**
   * In order of writing, at most `first`, fewer where they are big. `found`: how many there are, up to one more than
   * `first`.
   */
  async messages(
    { organizationId, userId }: Owner,
    conversationId: string,
    first: number,
    afterPosition: number | null,
  ): Promise<{ rows: { message: Message; position: number }[]; found: number }> {
    const rows = await this.db.query<MessageSql & { found: string }>(
      `${bounded(
        `SELECT *, count(*) OVER () AS found FROM (
           SELECT m.* FROM messages m JOIN conversations c ON c.organization_id = m.organization_id AND c.id = m.conversation_id
           WHERE m.organization_id = $1 AND m.conversation_id = $2 AND c.user_id = $3 AND m.position > $5
           ORDER BY m.position LIMIT $4 + 1) AS page`,
        'position',
      )} ORDER BY position LIMIT $4`,
      [organizationId, conversationId, userId, first, afterPosition ?? 0],
    );
    return {
      rows: rows.map((row) => ({ message: mapMessage(row), position: Number(row.position) })),
      found: Number(rows[0]?.found ?? 0),
    };
  }

  /**
   * The branch to continue: the current one, or the way to `afterMessageId`. null: no such conversation, or no such
   * message in it.
   */
  async branch({ organizationId, userId }: Owner, id: string, afterMessageId: string | null): Promise<Branch | null> {
    const [row] = await this.db.query<ConversationSql & { ids: string[]; system_ids: string[] }>(
      `SELECT c.*, way.* FROM conversations c, LATERAL (
         SELECT coalesce(array_agg(id ORDER BY position), '{}') AS ids, coalesce(array_agg(id ORDER BY position) FILTER (WHERE role = 'SYSTEM'), '{}') AS system_ids
         FROM (${afterMessageId === null ? CURRENT : WAY}) AS branch) AS way
       WHERE c.organization_id = $1 AND c.id = $2 AND c.user_id = $3`,
      afterMessageId === null ? [organizationId, id, userId] : [organizationId, id, userId, afterMessageId],
    );
    if (!row || (afterMessageId !== null && row.ids.length === 0)) return null;
    const candidates = [...new Set([...row.system_ids, ...row.ids.slice(-MAX_BRANCH_MESSAGES)])];
    const newest = candidates.length
      ? await this.db.query<MessageSql>(
          `${bounded('SELECT * FROM messages WHERE organization_id = $1 AND id = ANY ($2::text[])', `role <> 'SYSTEM', position DESC`)} ORDER BY position`,
          [organizationId, candidates],
        )
      : [];
    const messages = fromWholeTurn(newest, newest.length < row.ids.length).map(mapMessage);
    return {
      conversation: mapConversation(row),
      headId: row.head_id,
      ids: row.ids,
      messages,
      omitted: row.ids.length - messages.length,
    };
  }
}

/** What is not superseded is the current branch, and a message is always written after the one that it follows. */
const CURRENT =
  'SELECT id, role, position FROM messages WHERE organization_id = $1 AND conversation_id = c.id AND NOT superseded';
const WAY = `
  WITH RECURSIVE steps AS (
    SELECT id, parent_id, role, position FROM messages WHERE organization_id = $1 AND id = $4 AND conversation_id = c.id
    UNION ALL SELECT m.id, m.parent_id, m.role, m.position FROM messages m JOIN steps ON m.organization_id = $1 AND m.id = steps.parent_id)
  SELECT id, role, position FROM steps`;

/**
 * Where the start was cut off, what remains begins with a question; within one endless turn at least not with a tool's
 * result.
 */
function fromWholeTurn<M extends { role: MessageRole }>(messages: M[], cut: boolean): M[] {
  if (!cut) return messages;
  const question = messages.findIndex(({ role }) => role === 'USER');
  const start = question >= 0 ? question : messages.findIndex(({ role }) => role === 'ASSISTANT');
  return messages.filter(({ role }, index) => role === 'SYSTEM' || (start >= 0 && index >= start));
}
