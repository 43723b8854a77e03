import { Field, ID, Int, ObjectType } from 'type-graphql';
import { CallStatusEnum, ScenarioEnum, UpstreamEnum, UsageSourceEnum } from './enums';
import { connectionOf, NodeInterface } from './node.type';
import { DateTime, DecimalScalar } from './scalars';
import type { CallStatus, Scenario, Upstream, UsageSource } from '../../domain/call';

@ObjectType('TokenUsage', {
  simpleResolvers: true,
  description:
    'Disjoint parts: uncachedPromptTokens + cacheReadTokens + cacheWriteTokens = promptTokens; reasoningTokens are part of completionTokens.',
})
export class TokenUsageType {
  @Field(() => Int, { description: 'All tokens of the question.' })
  promptTokens!: number;

  @Field(() => Int, { description: 'Those that the provider read anew.' })
  uncachedPromptTokens!: number;

  @Field(() => Int, { description: 'Those that it had in its cache.' })
  cacheReadTokens!: number;

  @Field(() => Int, { description: 'Those that it put into its cache.' })
  cacheWriteTokens!: number;

  @Field(() => Int, { description: 'All tokens of the answer.' })
  completionTokens!: number;

  @Field(() => Int, { description: 'Those that went into reasoning.' })
  reasoningTokens!: number;

  @Field(() => Int, { description: 'Question and answer.' })
  totalTokens!: number;

  @Field(() => UsageSourceEnum, { description: 'Where the counts come from.' })
  source!: UsageSource;
}

@ObjectType('Cost', {
  simpleResolvers: true,
  description: 'The parts add up to total, to the last digit. Unknown is null, not zero.',
})
export class CostType {
  @Field(() => DecimalScalar, { description: 'Prompt tokens that were read anew.' })
  input!: string;

  @Field(() => DecimalScalar, { description: 'Prompt tokens from the cache.' })
  cacheRead!: string;

  @Field(() => DecimalScalar, { description: 'Prompt tokens put into the cache.' })
  cacheWrite!: string;

  @Field(() => DecimalScalar, { description: 'The answer, without reasoning, where that is priced apart.' })
  output!: string;

  @Field(() => DecimalScalar, { description: 'Reasoning, where that is priced apart.' })
  reasoning!: string;

  @Field(() => DecimalScalar, { description: 'What the provider takes for a request as such.' })
  request!: string;

  @Field(() => DecimalScalar, { description: 'All parts together.' })
  total!: string;

  @Field(() => String, { description: 'ISO 4217: always USD.' })
  currency!: string;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'What the proxy says, for comparison; null: it says nothing.',
  })
  reportedByProxy!: string | null;
}

@ObjectType('Route', {
  simpleResolvers: true,
  description:
    '`model` is what was asked for, `servedModel` what answered (after a fallback another one); the served one is priced.',
})
export class RouteType {
  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;

  @Field(() => ID, { description: 'What answered.' })
  servedModel!: string;

  @Field(() => UpstreamEnum, { description: 'What it was reached through.' })
  upstream!: Upstream;

  @Field(() => String, { nullable: true, description: 'Who makes the model run, where that is known.' })
  provider!: string | null;

  @Field(() => String, { nullable: true, description: "The proxy's own id of the deployment that answered." })
  deployment!: string | null;

  @Field(() => Int, { description: 'How many deployments were tried.' })
  attempts!: number;
}

@ObjectType('Call', {
  implements: NodeInterface,
  simpleResolvers: true,
  description: 'One call of a model: the row behind the figures.',
})
export class CallType extends NodeInterface {
  @Field(() => String, { description: "The client's trace id, else that of its request." })
  traceId!: string;

  // Not simple: the field has another name than the property.
  @Field(() => DateTime, { name: 'at', simple: false, description: 'When it was admitted.' })
  occurredAt!: Date;

  @Field(() => String, { nullable: true, description: "The calling agent's label." })
  agent!: string | null;

  @Field(() => ScenarioEnum, { description: 'What it was for.' })
  scenario!: Scenario;

  @Field(() => ID, { description: 'What was asked for.' })
  model!: string;

  @Field(() => ID, { description: 'What answered.' })
  servedModel!: string;

  @Field(() => String, { nullable: true, description: 'Who makes the model run, where that is known.' })
  provider!: string | null;

  @Field(() => UpstreamEnum, { description: 'What it was reached through.' })
  upstream!: Upstream;

  @Field(() => CallStatusEnum, { description: 'Where it stands.' })
  status!: CallStatus;

  @Field(() => String, { nullable: true, description: 'Why it failed; null where it did not.' })
  errorCode!: string | null;

  @Field(() => Int, { nullable: true, description: 'Milliseconds from admission to the end; null while it runs.' })
  latencyMs!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Milliseconds from admission to the first token; null where it was not streamed or none came.',
  })
  timeToFirstTokenMs!: number | null;

  @Field(() => Boolean, { description: 'Whether the answer was streamed.' })
  streamed!: boolean;
}

export const CallConnection = connectionOf('Call', () => CallType, 'calls');
