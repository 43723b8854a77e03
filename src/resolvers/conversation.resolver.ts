import { Arg, Ctx, Extensions, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import { underField } from '../errors';
import type { RequestContext } from './context';
import type { Conversation, Message } from '../domain/conversation';
import { callOf, conversationOf, conversationUsageOf, projectOf } from './loaders';
import { CallType } from './types/call.type';
import {
  ConversationConnection,
  ConversationType,
  CreateConversationInputType,
  MessageConnection,
  MessageType,
} from './types/conversation.type';
import { toConnection, type ConnectionOf } from './types/node.type';
import { DeletePayloadType, ProjectType } from './types/people.type';
import { UsageFiguresType } from './types/usage.type';
import { checkName, checkOptionalName } from './validate';
import { checkPage } from '../domain/page';

@Resolver(() => ConversationType)
export class ConversationResolver {
  @Query(() => ConversationConnection, { description: "The caller's own conversations, newest first." })
  async conversations(
    @Arg('first', () => Int, { defaultValue: 20, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ConnectionOf<ConversationType>> {
    return toConnection(await context.services.conversations.list(context.viewer, checkPage({ first, after })));
  }

  @Query(() => ConversationType, {
    nullable: true,
    description: "One of the caller's own conversations; null for others.",
  })
  conversation(
    @Arg('id', () => ID, { description: 'The conversation.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<ConversationType | null> {
    return conversationOf(context).load(id);
  }

  @Mutation(() => ConversationType, { description: 'Makes an empty conversation.' })
  createConversation(
    @Arg('input', () => CreateConversationInputType, { description: 'The conversation.' })
    input: CreateConversationInputType,
    @Ctx() context: RequestContext,
  ): Promise<ConversationType> {
    checkOptionalName('input.title', input.title);
    return underField('input', context.services.conversations.create(context.viewer, input));
  }

  @Mutation(() => ConversationType, { description: 'Gives a conversation another title.' })
  renameConversation(
    @Arg('id', () => ID, { description: 'The conversation.' }) id: string,
    @Arg('title', () => String, { description: 'Its title; at most 200 characters.' }) title: string,
    @Ctx() context: RequestContext,
  ): Promise<ConversationType> {
    checkName('title', title);
    return context.services.conversations.rename(context.viewer, id, title);
  }

  @Mutation(() => DeletePayloadType, { description: 'Messages are erased; usage rows stay.' })
  async deleteConversation(
    @Arg('id', () => ID, { description: 'The conversation.' }) id: string,
    @Ctx() context: RequestContext,
  ): Promise<DeletePayloadType> {
    return { deletedId: await context.services.conversations.remove(context.viewer, id) };
  }

  @FieldResolver(() => ProjectType, { nullable: true, description: 'The project that its calls are booked on.' })
  project(@Root() conversation: Conversation, @Ctx() context: RequestContext): Promise<ProjectType | null> | null {
    return conversation.projectId === null ? null : projectOf(context).load(conversation.projectId);
  }

  @FieldResolver(() => MessageConnection, {
    description: 'In the order in which they were written, superseded ones included.',
  })
  async messages(
    @Root() conversation: Conversation,
    @Arg('first', () => Int, { defaultValue: 50, description: 'How many, 1 to 100.' }) first: number,
    @Arg('after', () => String, { nullable: true, description: 'Cursor of the last edge of the page before.' })
    after: string | null,
    @Ctx() context: RequestContext,
  ): Promise<ConnectionOf<MessageType>> {
    return toConnection(
      await context.services.conversations.messages(context.viewer, conversation.id, checkPage({ first, after })),
    );
  }

  @Extensions({ report: true })
  @FieldResolver(() => UsageFiguresType, { description: 'What all its calls used and cost.' })
  usage(@Root() conversation: Conversation, @Ctx() context: RequestContext): Promise<UsageFiguresType> {
    return conversationUsageOf(context).load(conversation.id);
  }
}

@Resolver(() => MessageType)
export class MessageResolver {
  @FieldResolver(() => ConversationType, {
    nullable: true,
    description: 'null for an answer outside a conversation: that is not stored, and node(id) does not find it.',
  })
  conversation(@Root() message: Message, @Ctx() context: RequestContext): Promise<ConversationType | null> | null {
    return message.conversationId === null ? null : conversationOf(context).load(message.conversationId);
  }

  @FieldResolver(() => CallType, { nullable: true, description: 'The call that it is the answer of.' })
  call(@Root() message: Message, @Ctx() context: RequestContext): Promise<CallType | null> | null {
    return message.callId === null ? null : callOf(context).load(message.callId);
  }
}
