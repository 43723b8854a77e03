import { Field, InputType } from 'type-graphql';
import type { ContentPart, MessageRole } from '../../domain/conversation';
import { ImageDetailEnum, MessageRoleEnum } from './enums';

@InputType('ContentPartInput', { description: 'One part of a message: exactly one of `text` and `imageUrl`.' })
export class ContentPartInputType {
  @Field(() => String, { nullable: true, description: 'Text.' })
  text?: string | null;

  @Field(() => String, { nullable: true, description: 'Address of an image, or the image itself as a data URL.' })
  imageUrl?: string | null;

  @Field(() => ImageDetailEnum, { nullable: true, description: 'How closely the model looks at the image.' })
  imageDetail?: ContentPart['imageDetail'];
}

@InputType('ToolCallInput', { description: 'A tool call of an earlier answer, as the answer had it.' })
export class ToolCallInputType {
  @Field(() => String, { description: 'As the provider gave it.' })
  toolCallId!: string;

  @Field(() => String, { description: "The tool's name." })
  name!: string;

  @Field(() => String, { description: 'JSON text as the model wrote it.' })
  arguments!: string;
}

@InputType('MessageInput', {
  description: 'A message: `content`, or `parts`, or (assistant) `toolCalls`; TOOL needs `toolCallId`.',
})
export class MessageInputType {
  @Field(() => MessageRoleEnum, { description: 'Who says it.' })
  role!: MessageRole;

  @Field(() => String, { nullable: true, description: 'Its text.' })
  content?: string | null;

  @Field(() => [ContentPartInputType], { nullable: true, description: 'Text and images.' })
  parts?: ContentPartInputType[] | null;

  @Field(() => [ToolCallInputType], {
    nullable: true,
    description: 'ASSISTANT only: the tools that it wanted to be called.',
  })
  toolCalls?: ToolCallInputType[] | null;

  @Field(() => String, { nullable: true, description: 'TOOL only: the tool call that this message answers.' })
  toolCallId?: string | null;

  @Field(() => String, { nullable: true, description: 'Tells speakers of one role apart.' })
  name?: string | null;
}
