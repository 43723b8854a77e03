import { createUnionType, Field, ID, Int, InterfaceType, ObjectType } from 'type-graphql';
import { ChatReplyType } from './chat.result';
import { ConversationType } from './conversation.type';
import { StopReasonEnum } from './enums';
import { RefusalInterface } from './refusal.type';
import { DecimalScalar } from './scalars';
import type { StopReason } from '../../domain/call';

@InterfaceType('StreamEvent', {
  description:
    'Every piece of a stream has a number: 1, 2, 3 … An event carries pieces `fromSeq` to `seq` (more than one where text was joined); the next event starts at seq + 1. Exactly one terminal event (Completed, Stopped, Failed, Refused) ends it.',
})
export abstract class StreamEventInterface {
  @Field(() => Int, { description: 'Number of its first piece.' })
  fromSeq!: number;

  @Field(() => Int, { description: 'Number of its last piece.' })
  seq!: number;
}

@ObjectType('StreamStarted', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'Sent when the call is admitted, before the first token.',
})
export class StreamStartedType extends StreamEventInterface {
  @Field(() => ID, { description: 'The stream: `stopStream` takes it.' })
  streamId!: string;

  @Field(() => ID, { description: 'The call: its row is there when the stream has ended.' })
  callId!: string;

  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;

  @Field(() => ConversationType, {
    nullable: true,
    description: 'The conversation that it belongs to; null outside one.',
  })
  conversation!: ConversationType | null;
}

@ObjectType('TextDelta', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'More of the answer.',
})
export class TextDeltaType extends StreamEventInterface {
  @Field(() => String, { description: 'To be appended.' })
  text!: string;
}

@ObjectType('ReasoningDelta', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'More of what the model thinks before it answers.',
})
export class ReasoningDeltaType extends StreamEventInterface {
  @Field(() => String, { description: 'To be appended.' })
  text!: string;
}

@ObjectType('ToolCallDelta', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'More of a tool call.',
})
export class ToolCallDeltaType extends StreamEventInterface {
  @Field(() => Int, { description: 'Which tool call of the answer, from 0.' })
  index!: number;

  @Field(() => String, { nullable: true, description: 'On the first delta of a call.' })
  toolCallId!: string | null;

  @Field(() => String, { nullable: true, description: "The tool's name, on the first delta of a call." })
  name!: string | null;

  @Field(() => String, { description: 'JSON text, to be appended.' })
  arguments!: string;
}

@ObjectType('StreamProgress', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'Tokens and cost so far, estimated.',
})
export class StreamProgressType extends StreamEventInterface {
  @Field(() => Int, { description: 'Tokens of the answer so far, reasoning included.' })
  completionTokens!: number;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'What the call has cost so far, in US dollars; null: no price known.',
  })
  estimatedCost!: string | null;
}

@ObjectType('StreamCompleted', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'The answer came to its end.',
})
export class StreamCompletedType extends StreamEventInterface {
  @Field(() => ChatReplyType, { description: 'The whole answer, with what it took.' })
  reply!: ChatReplyType;
}

@ObjectType('StreamStopped', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'The stream was stopped: what was produced is kept and counted.',
})
export class StreamStoppedType extends StreamEventInterface {
  @Field(() => StopReasonEnum, { description: 'Why.' })
  reason!: StopReason;

  @Field(() => ChatReplyType, { description: 'What was produced.' })
  reply!: ChatReplyType;
}

@ObjectType('StreamFailed', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'What came before the failure is kept; `partial` is null when nothing came.',
})
export class StreamFailedType extends StreamEventInterface {
  @Field(() => RefusalInterface, { description: 'What went wrong.' })
  refusal!: RefusalInterface;

  @Field(() => ChatReplyType, { nullable: true, description: 'What was produced before.' })
  partial!: ChatReplyType | null;
}

@ObjectType('StreamRefused', {
  implements: StreamEventInterface,
  simpleResolvers: true,
  description: 'Nothing was spent.',
})
export class StreamRefusedType extends StreamEventInterface {
  @Field(() => RefusalInterface, { description: 'Why, with what helps.' })
  refusal!: RefusalInterface;
}

export const ChatEventUnion = createUnionType({
  name: 'ChatEvent',
  description: 'What a viewer of a stream receives.',
  types: () =>
    [
      StreamStartedType,
      TextDeltaType,
      ReasoningDeltaType,
      ToolCallDeltaType,
      StreamProgressType,
      StreamCompletedType,
      StreamStoppedType,
      StreamFailedType,
      StreamRefusedType,
    ] as const,
});
