import { createUnionType, Field, ID, Int, ObjectType } from 'type-graphql';
import { CallType, RouteType } from './call.type';
import { ConversationType } from './conversation.type';
import { FinishReasonEnum } from './enums';
import { REFUSAL_TYPES } from './refusal.type';
import { DateTime } from './scalars';
import type { FinishReason } from '../../domain/outcome';

@ObjectType('ChatReply', { simpleResolvers: true, description: 'An answer, with what it took.' })
export class ChatReplyType {
  @Field(() => CallType, { description: 'The row behind it.' })
  call!: CallType;

  @Field(() => FinishReasonEnum, { description: 'Why it ended.' })
  finishReason!: FinishReason;

  @Field(() => RouteType, { description: 'What was asked for and what answered.' })
  route!: RouteType;

  @Field(() => ConversationType, {
    nullable: true,
    description: 'The conversation that it belongs to; null outside one.',
  })
  conversation!: ConversationType | null;

  @Field(() => Int, { description: 'Milliseconds from admission to the end.' })
  latencyMs!: number;

  @Field(() => Int, { description: 'Oldest messages of the conversation left out to fit the context.' })
  omittedMessages!: number;

  @Field(() => Boolean, {
    description: 'An answer that an idempotency key brought back: nothing was spent on it again.',
  })
  replayed!: boolean;
}

export const ChatResult = createUnionType({
  name: 'ChatResult',
  description: 'An answer, or an expected refusal: select what they share over `... on Refusal`.',
  types: () => [ChatReplyType, ...REFUSAL_TYPES] as const,
});

@ObjectType('StopStreamPayload', { simpleResolvers: true, description: 'What stopping a stream did.' })
export class StopStreamPayloadType {
  @Field(() => ID, { description: 'The stream.' })
  streamId!: string;

  @Field(() => Boolean, { description: 'false: it had ended before.' })
  stopped!: boolean;
}

@ObjectType('ActiveStream', { simpleResolvers: true, description: 'A stream that runs now.' })
export class ActiveStreamType {
  @Field(() => ID, { description: 'For resumeStream (the own ones) and stopStream.' })
  streamId!: string;

  @Field(() => CallType, { description: 'The call: its status is RUNNING.' })
  call!: CallType;

  @Field(() => DateTime, { description: 'When it was admitted.' })
  startedAt!: Date;

  @Field(() => Int, {
    description: 'Number of its last event; 0 where another replica runs it and no shared log tells.',
  })
  lastSeq!: number;

  @Field(() => Int, {
    description: 'How many look at it now; 0 where another replica runs it and no shared log tells.',
  })
  viewers!: number;
}
