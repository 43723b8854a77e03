import { Field, Float, ID, InputType, Int } from 'type-graphql';
import type { ChatInput, ResponseFormatInput } from '../../domain/chat';
import {
  DisconnectPolicyEnum,
  ReasoningEffortEnum,
  ResponseFormatTypeEnum,
  ScenarioEnum,
  ToolChoiceEnum,
} from './enums';
import { MessageInputType } from './message.input';
import { JsonScalar } from './scalars';
import type { DisconnectPolicy } from '../../domain/stream-events';
import type { Scenario } from '../../domain/call';

@InputType('ToolInput', { description: 'A tool that the model may call.' })
export class ToolInputType {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'What it does, for the model to read.' })
  description?: string | null;

  @Field(() => JsonScalar, { nullable: true, description: 'JSON Schema of its arguments.' })
  parameters?: unknown;

  @Field(() => Boolean, { nullable: true, description: 'Whether arguments have to keep to the schema exactly.' })
  strict?: boolean | null;
}

@InputType('ResponseFormatInput', { description: 'The form of the answer.' })
export class ResponseFormatInputType {
  @Field(() => ResponseFormatTypeEnum, { description: 'Which form.' })
  type!: ResponseFormatInput['type'];

  @Field(() => String, { nullable: true, description: "For JSON_SCHEMA: the schema's name." })
  name?: string | null;

  @Field(() => JsonScalar, { nullable: true, description: 'For JSON_SCHEMA: the schema.' })
  schema?: unknown;

  @Field(() => Boolean, {
    nullable: true,
    description: 'For JSON_SCHEMA: whether the answer has to keep to it exactly.',
  })
  strict?: boolean | null;
}

@InputType('ChatInput', { description: 'A question to a model.' })
export class ChatInputType implements ChatInput {
  @Field(() => ID, {
    nullable: true,
    description: "A model id of `models`; left out: the configured default, else the plan's.",
  })
  model?: string | null;

  @Field(() => ScenarioEnum, {
    defaultValue: 'DEFAULT',
    description: 'A label until routing by scenario exists; kept on the usage row.',
  })
  scenario!: Scenario;

  @Field(() => String, { nullable: true, description: 'A label of the calling agent, kept on the usage row.' })
  agent?: string | null;

  @Field(() => ID, {
    nullable: true,
    description: "The project that the call is booked on; left out: the conversation's, if it has one.",
  })
  projectId?: string | null;

  @Field(() => String, {
    nullable: true,
    description:
      "The client's own trace id, kept on the usage row; left out: the W3C traceparent of the request, else a new one.",
  })
  traceId?: string | null;

  @Field(() => ID, {
    nullable: true,
    description: 'Continue a stored conversation: its messages come before these; these and the answer are stored.',
  })
  conversationId?: string | null;

  @Field(() => ID, {
    nullable: true,
    description:
      'Continue after this message instead of the last one: regenerate an answer, edit a question. What followed is kept, marked superseded; naming a superseded message makes its branch the current one.',
  })
  afterMessageId?: string | null;

  @Field(() => [MessageInputType], { description: 'The new messages in their order, at least one.' })
  messages!: MessageInputType[];

  @Field(() => Int, {
    nullable: true,
    description: "Tokens that the answer may have; left out: the plan's limit, else 4096, capped by the model's.",
  })
  maxTokens?: number | null;

  @Field(() => Float, { nullable: true, description: '0 to 2: how freely the model chooses its words.' })
  temperature?: number | null;

  @Field(() => Float, {
    nullable: true,
    description: '0 to 1: choose only among the likeliest words that together have this share.',
  })
  topP?: number | null;

  @Field(() => [String], { nullable: true, description: 'Texts at which the answer ends.' })
  stop?: string[] | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Asks for the same answer to the same question; not every provider keeps to it.',
  })
  seed?: number | null;

  @Field(() => Float, { nullable: true, description: '-2 to 2: positive values lead to new subjects.' })
  presencePenalty?: number | null;

  @Field(() => Float, { nullable: true, description: '-2 to 2: positive values avoid repetition.' })
  frequencyPenalty?: number | null;

  @Field(() => ReasoningEffortEnum, { nullable: true, description: 'How long a reasoning model may think.' })
  reasoningEffort?: ChatInput['reasoningEffort'];

  @Field(() => [ToolInputType], { nullable: true, description: 'Tools that the model may call.' })
  tools?: ToolInputType[] | null;

  @Field(() => ToolChoiceEnum, { nullable: true, description: 'Whether it has to call one.' })
  toolChoice?: ChatInput['toolChoice'];

  @Field(() => String, { nullable: true, description: 'With `toolChoice` TOOL: its name.' })
  toolName?: string | null;

  @Field(() => Boolean, { nullable: true, description: 'Whether it may call several tools at once.' })
  parallelToolCalls?: boolean | null;

  @Field(() => ResponseFormatInputType, { nullable: true, description: 'The form of the answer.' })
  responseFormat?: ResponseFormatInputType | null;

  @Field(() => String, {
    nullable: true,
    description:
      'Same key and input: the same answer or the same running stream, billed once; kept for 24 hours from its end. Other input (traceId, onDisconnect and progress aside): IdempotencyConflict. 1 to 255 characters.',
  })
  idempotencyKey?: string | null;

  @Field(() => DisconnectPolicyEnum, {
    defaultValue: 'GRACE',
    description: 'Streams: what it means when the last viewer is gone.',
  })
  onDisconnect!: DisconnectPolicy;

  @Field(() => Boolean, {
    defaultValue: false,
    description:
      'Streams: StreamProgress events, at most one a second; they belong to the stream, every viewer gets them.',
  })
  progress!: boolean;
}
