import type { Db } from '../../database/pool';
import type { Message } from '../../domain/conversation';
import type { KeptRow } from './kept-pieces';

/** What is to be read of a call: its checkpoints behind a number of them. */
/**
 * `organizationId` is null where only the stream is known, and whose it is not: an operator may follow those of others.
 */
export interface KeptQuestion {
  organizationId: string | null;
  callId: string;
  afterRow: number;
}
export interface KeptLook {
  callId: string;
  /** The rows behind that number, in their order. */
  rows: (KeptRow & { number: number })[];
  /** null: it has ended. `deadMs`: milliseconds since its owner was declared dead; null: that lives. */
  flight: { stopReason: string | null; deadMs: number | null } | null;
}

/**
 * What its usage row and its conversation say about a call that has ended, beside what every reader of calls is shown.
 */
export interface KeptEnd {
  finishReason: string | null;
  attempts: number;
  omittedMessages: number;
  /** Stored in its conversation; null: it has none there. */
  answer: Pick<
    Message,
    'id' | 'conversationId' | 'content' | 'reasoning' | 'toolCalls' | 'createdAt' | 'complete' | 'superseded'
  > | null;
  /** Stored beside its idempotency key; null: there is none. */
  stored: unknown;
}

// One snapshot: a call that is in flight in it has not lost its checkpoints yet, and those of a lost one are all there.
const LOOK = `
  SELECT asked.id AS "callId",
    CASE WHEN f.id IS NULL THEN NULL ELSE json_build_object('stopReason', f.stop_reason, 'deadMs', (extract(epoch FROM weir.now() - o.dead_at) * 1000)::float8) END AS flight,
    coalesce((SELECT json_agg(json_build_object('number', c.number, 'content', c.content, 'reasoning', c.reasoning, 'tools', c.tools, 'firstSeq', c.first_seq, 'pieces', c.pieces) ORDER BY c.number)
      FROM call_checkpoints AS c WHERE c.organization_id = asked.organization_id AND c.call_id = asked.id AND c.number > asked.after_row), '[]') AS rows
  FROM unnest($1::text[], $2::text[], $3::integer[]) AS asked(organization_id, id, after_row)
  LEFT JOIN calls_in_flight AS f ON f.id = asked.id AND (asked.organization_id IS NULL OR f.organization_id = asked.organization_id) LEFT JOIN owners AS o ON o.id = f.owner`;

// A message is looked for among those of its conversation, a key among those of its user: by call there is no index.
const END = `
  SELECT u.finish_reason AS "finishReason", u.attempts, u.omitted_messages AS "omittedMessages",
    (SELECT k.stored FROM idempotency_keys AS k WHERE k.organization_id = u.organization_id AND k.user_id = u.user_id AND k.call_id = u.id) AS stored, m.id AS "messageId", m.conversation_id AS "conversationId", m.content, m.reasoning,
    m.tool_calls AS "toolCalls", m.created_at AS "createdAt", m.complete, m.superseded
  FROM llm_usage AS u LEFT JOIN messages AS m ON m.organization_id = u.organization_id AND m.conversation_id = u.conversation_id AND m.call_id = u.id
  WHERE u.organization_id = $1 AND u.id = $2 AND u.kind = 'CALL' LIMIT 1`;

/** What Postgres keeps of streams whose events nobody has in memory. */
export class KeptStore {
  constructor(private readonly db: Db) {}

  /** All of them in one statement, in no order. */
  async look(questions: readonly KeptQuestion[]): Promise<KeptLook[]> {
    return this.db.hot<KeptLook>('kept-look', LOOK, [
      questions.map(({ organizationId }) => organizationId),
      questions.map(({ callId }) => callId),
      questions.map(({ afterRow }) => afterRow),
    ]);
  }

  /** null: the call has not ended. */
  async end(organizationId: string, callId: string): Promise<KeptEnd | null> {
    const [row] = await this.db.query<
      Omit<KeptEnd, 'answer'> & NonNullable<KeptEnd['answer']> & { messageId: string | null }
    >(END, [organizationId, callId]);
    if (!row) return null;
    const {
      finishReason,
      attempts,
      omittedMessages,
      stored,
      messageId,
      conversationId,
      content,
      reasoning,
      toolCalls,
      createdAt,
      complete,
      superseded,
    } = row;
    const answer =
      messageId === null
        ? null
        : {
            id: messageId,
            conversationId,
            content,
            reasoning,
            toolCalls: toolCalls ?? [],
            createdAt,
            complete,
            superseded,
          };
    return { finishReason, attempts, omittedMessages, answer, stored };
  }
}
