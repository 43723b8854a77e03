import { badInput, notFound } from '../../errors';
import { newId } from '../../lib/ids';
import { decodeCursor, decodeTimeCursor, pageOf, type Page, type PageArgs } from '../../lib/page';
import type { Viewer } from '../../domain/principal';
import type { Branch, ConversationStore } from './conversation.store';
import type { Conversation, Message } from '../../domain/conversation';
import type { PeopleService } from '../accounts/people.service';

/** Conversations belong to one user: nobody else, whatever the role, reads what was said. */
export class ConversationService {
  constructor(private readonly deps: { store: ConversationStore; people: Pick<PeopleService, 'visibleProject'> }) {}

  /** Throws NOT_FOUND for a project that the caller may not see. */
  async create(viewer: Viewer, input: { title?: string | null; projectId?: string | null }): Promise<Conversation> {
    // An operator sees the projects of others, too.
    if (
      input.projectId &&
      (await this.deps.people.visibleProject(viewer, input.projectId))?.organizationId !== viewer.organizationId
    )
      throw notFound('projectId');
    return this.deps.store.insert({
      id: newId('conversation'),
      organizationId: viewer.organizationId,
      userId: viewer.userId,
      projectId: input.projectId ?? null,
      title: input.title ?? null,
    });
  }

  async rename(viewer: Viewer, id: string, title: string): Promise<Conversation> {
    const conversation = await this.deps.store.rename(viewer, id, title);
    if (!conversation) throw notFound('id');
    return conversation;
  }

  /** Erases the messages; usage rows stay. */
  async remove(viewer: Viewer, id: string): Promise<string> {
    if (!(await this.deps.store.remove(viewer, id))) throw notFound('id');
    return id;
  }

  /** Only the owner sees a conversation; null for everybody else. */
  get(viewer: Viewer, id: string): Promise<Conversation | null> {
    return this.deps.store.find(viewer, id);
  }

  /** The caller's own, newest first. */
  async list(viewer: Viewer, { first, after }: PageArgs): Promise<Page<Conversation>> {
    const key = after == null ? null : decodeTimeCursor(after);
    if (after != null && !key) throw badInput('after', 'is not a cursor of this list');
    const rows = await this.deps.store.page(viewer, first, key);
    return pageOf(
      rows,
      first,
      key !== null,
      (row) => row.key,
      (row) => row.conversation,
    );
  }

  message(viewer: Viewer, id: string): Promise<Message | null> {
    return this.deps.store.message(viewer, id);
  }

  /** In the order in which they were written, superseded ones included. */
  async messages(viewer: Viewer, conversationId: string, { first, after }: PageArgs): Promise<Page<Message>> {
    const key = after == null ? null : decodeCursor(after, 1);
    if (after != null && !Number.isSafeInteger(key?.[0])) throw badInput('after', 'is not a cursor of this list');
    const { rows, found } = await this.deps.store.messages(viewer, conversationId, first, key ? Number(key[0]) : null);
    return {
      ...pageOf(
        rows,
        first,
        key !== null,
        (row) => [row.position],
        (row) => row.message,
      ),
      hasNextPage: found > rows.length,
    };
  }

  /** What a call continues. Throws NOT_FOUND. */
  async branch(viewer: Viewer, conversationId: string, afterMessageId: string | null): Promise<Branch> {
    const branch = await this.deps.store.branch(viewer, conversationId, afterMessageId);
    if (branch) return branch;
    throw notFound(
      afterMessageId && (await this.deps.store.find(viewer, conversationId)) ? 'afterMessageId' : 'conversationId',
    );
  }
}
