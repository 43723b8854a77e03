import { Field, ID, InputType, ObjectType } from 'type-graphql';
import type { MessageRole } from '../../domain/conversation';
import { MessageRoleEnum } from './enums';
import { connectionOf, NodeInterface } from './node.type';
import { DateTime } from './scalars';

@ObjectType('ContentPart', { simpleResolvers: true, description: 'One part of a message: text or an image.' })
export class ContentPartType {
  @Field(() => String, { nullable: true, description: 'Text; null for an image.' })
  text?: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'Address of an image, or the image itself as a data URL; null for text.',
  })
  imageUrl?: string | null;
}

@ObjectType('ToolCall', { simpleResolvers: true, description: 'A tool that the model wants to be called.' })
export class ToolCallType {
  @Field(() => String, { description: 'As the provider gave it: not unique. The answer to it carries it back.' })
  toolCallId!: string;

  @Field(() => String, { description: "The tool's name." })
  name!: string;

  @Field(() => String, { description: 'JSON text as the model wrote it: it may be broken.' })
  arguments!: string;
}

@ObjectType('Message', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'A message of a conversation, or the answer of a call.',
})
export class MessageType extends NodeInterface {
  @Field(() => MessageRoleEnum, { description: 'Who says it.' })
  role!: MessageRole;

  @Field(() => String, { nullable: true, description: 'Its text; null where it has only parts or tool calls.' })
  content!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'What the model thought before it answered, where the provider shows that.',
  })
  reasoning!: string | null;

  @Field(() => [ContentPartType], { description: 'Text and images; empty where `content` says all.' })
  parts!: ContentPartType[];

  @Field(() => [ToolCallType], { description: 'Tools that the model wants to be called.' })
  toolCalls!: ToolCallType[];

  @Field(() => String, { nullable: true, description: 'In a TOOL message: the tool call that it answers.' })
  toolCallId!: string | null;

  @Field(() => DateTime, { description: 'When it was written.' })
  createdAt!: Date;

  @Field(() => Boolean, { description: 'false: the answer was cut (stopped, failed, lost).' })
  complete!: boolean;

  @Field(() => Boolean, {
    description:
      'The conversation went on from an earlier message: this one is kept, and is not on the current branch.',
  })
  superseded!: boolean;
}

@ObjectType('Conversation', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'Messages that belong together. Only its owner sees it.',
})
export class ConversationType extends NodeInterface {
  @Field(() => String, { nullable: true, description: 'Its title, if it has one.' })
  title!: string | null;

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => DateTime, { description: 'When it or its messages last changed.' })
  updatedAt!: Date;
}

@InputType('CreateConversationInput', { description: 'A new conversation.' })
export class CreateConversationInputType {
  @Field(() => String, { nullable: true, description: 'Its title; at most 200 characters.' })
  title?: string | null;

  @Field(() => ID, { nullable: true, description: 'The project that its calls are booked on.' })
  projectId?: string | null;
}

export const ConversationConnection = connectionOf('Conversation', () => ConversationType, 'conversations');
export const MessageConnection = connectionOf('Message', () => MessageType, 'messages');
