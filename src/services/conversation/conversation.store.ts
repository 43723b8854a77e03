import type { Db } from '../../entities/data-source';
import type { ContentPart, Conversation, Message, MessageRole, ToolCall } from './conversation.types';

interface ConversationSql { id: string; organization_id: string; user_id: string; project_id: string | null; title: string | null; head_id: string | null; created_at: Date; updated_at: Date; key: string }
interface MessageSql {
  id: string; conversation_id: string; position: string; role: MessageRole; content: string | null; reasoning: string | null; parts: ContentPart[] | null; tool_calls: ToolCall[] | null;
  tool_call_id: string | null; name: string | null; complete: boolean; superseded: boolean; call_id: string | null; created_at: Date;
}

const mapConversation = (row: ConversationSql): Conversation => ({
  id: row.id, organizationId: row.organization_id, userId: row.user_id, projectId: row.project_id, title: row.title, createdAt: row.created_at, updatedAt: row.updated_at,
});
const mapMessage = (row: MessageSql): Message => ({
  id: row.id, conversationId: row.conversation_id, role: row.role, content: row.content, reasoning: row.reasoning, parts: row.parts ?? [], toolCalls: row.tool_calls ?? [],
  toolCallId: row.tool_call_id, name: row.name, createdAt: row.created_at, complete: row.complete, superseded: row.superseded, callId: row.call_id,
});

/** A conversation with the branch that a call continues. */
export interface Branch {
  conversation: Conversation;
  headId: string | null;
  /** From the first message to the one that the call follows. */
  messages: Message[];
}

export class ConversationStore {
  constructor(private readonly db: Db) {}

  async insert(conversation: { id: string; organizationId: string; userId: string; projectId: string | null; title: string | null }): Promise<Conversation> {
    const [row] = await this.db.query<ConversationSql>(
      'INSERT INTO conversations (id, organization_id, user_id, project_id, title) VALUES ($1, $2, $3, $4, $5) RETURNING *',
      [conversation.id, conversation.organizationId, conversation.userId, conversation.projectId, conversation.title],
    );
    return mapConversation(row!);
  }

  async rename(id: string, userId: string, title: string): Promise<Conversation | null> {
    const [row] = await this.db.query<ConversationSql>('UPDATE conversations SET title = $3, updated_at = weir.now() WHERE id = $1 AND user_id = $2 RETURNING *', [id, userId, title]);
    return row ? mapConversation(row) : null;
  }

  async remove(id: string, userId: string): Promise<boolean> {
    return (await this.db.query('DELETE FROM conversations WHERE id = $1 AND user_id = $2 RETURNING id', [id, userId])).length > 0;
  }

  async find(id: string, userId: string): Promise<Conversation | null> {
    const [row] = await this.db.query<ConversationSql>('SELECT * FROM conversations WHERE id = $1 AND user_id = $2', [id, userId]);
    return row ? mapConversation(row) : null;
  }

  /** Newest first, one row more than `first`. The key is text, because a JavaScript date would cut the microseconds. */
  async page(userId: string, first: number, after: readonly (string | number)[] | null): Promise<{ conversation: Conversation; key: readonly [string, string] }[]> {
    const rows = await this.db.query<ConversationSql>(
      `SELECT *, created_at::text AS key FROM conversations
       WHERE user_id = $1 AND ($3::timestamptz IS NULL OR (created_at, id) < ($3::timestamptz, $4)) ORDER BY created_at DESC, id DESC LIMIT $2`,
      [userId, first + 1, after?.[0] ?? null, after?.[1] ?? null],
    );
    return rows.map((row) => ({ conversation: mapConversation(row), key: [row.key, row.id] }));
  }

  async message(id: string, userId: string): Promise<Message | null> {
    const [row] = await this.db.query<MessageSql>('SELECT m.* FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE m.id = $1 AND c.user_id = $2', [id, userId]);
    return row ? mapMessage(row) : null;
  }

  /** In order of writing, one row more than `first`. */
  async messages(conversationId: string, userId: string, first: number, afterPosition: number | null): Promise<{ message: Message; position: number }[]> {
    const rows = await this.db.query<MessageSql>(
      `SELECT m.* FROM messages m JOIN conversations c ON c.id = m.conversation_id
       WHERE m.conversation_id = $1 AND c.user_id = $2 AND m.position > $4 ORDER BY m.position LIMIT $3`,
      [conversationId, userId, first + 1, afterPosition ?? 0],
    );
    return rows.map((row) => ({ message: mapMessage(row), position: Number(row.position) }));
  }

  /** The branch to continue: the current one, or the way to `afterMessageId`. null: no such conversation, or no such message in it. */
  async branch(id: string, userId: string, afterMessageId: string | null): Promise<Branch | null> {
    const [row] = await this.db.query<ConversationSql>('SELECT * FROM conversations WHERE id = $1 AND user_id = $2', [id, userId]);
    if (!row) return null;
    const messages =
      afterMessageId === null
        ? // What is not superseded is the current branch, and a message is always written after the one that it follows.
          await this.db.query<MessageSql>('SELECT * FROM messages WHERE conversation_id = $1 AND NOT superseded ORDER BY position', [id])
        : await this.db.query<MessageSql>(
            `WITH RECURSIVE way AS (
               SELECT * FROM messages WHERE id = $2 AND conversation_id = $1
               UNION ALL SELECT m.* FROM messages m JOIN way ON m.id = way.parent_id)
             SELECT * FROM way ORDER BY position`,
            [id, afterMessageId],
          );
    if (afterMessageId !== null && messages.length === 0) return null;
    return { conversation: mapConversation(row), headId: row.head_id, messages: messages.map(mapMessage) };
  }
}
