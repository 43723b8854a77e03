import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import { CallStatusEnum, ScenarioEnum, UpstreamEnum } from './enums';
import { DateTime, DecimalScalar, SafeInt } from './scalars';
import type { CallStatus, Scenario, Upstream } from '../../domain/call';

@ObjectType('UsageFigures', { simpleResolvers: true, description: 'What a set of calls used and cost.' })
export class UsageFiguresType {
  @Field(() => SafeInt, { description: 'Calls that have ended.' })
  calls!: number;

  @Field(() => SafeInt, { description: 'Those of them that failed or were lost.' })
  failedCalls!: number;

  @Field(() => SafeInt, { description: 'Tokens of the questions, cached ones included.' })
  promptTokens!: number;

  @Field(() => SafeInt, { description: "Prompt tokens from providers' caches." })
  cacheReadTokens!: number;

  @Field(() => SafeInt, { description: "Prompt tokens put into providers' caches." })
  cacheWriteTokens!: number;

  @Field(() => SafeInt, { description: 'Tokens of the answers, reasoning included.' })
  completionTokens!: number;

  @Field(() => SafeInt, { description: 'Completion tokens that went into reasoning.' })
  reasoningTokens!: number;

  @Field(() => SafeInt, { description: 'Prompt and completion tokens.' })
  totalTokens!: number;

  @Field(() => DecimalScalar, {
    nullable: true,
    description: 'Of the calls that have a price; "0" without calls, null when there are calls and none has a price.',
  })
  cost!: string | null;

  @Field(() => SafeInt, { description: 'Calls with tokens but without a price: not in `cost`.' })
  unpricedCalls!: number;

  @Field(() => Float, { nullable: true, description: 'Milliseconds from admission to the end, on average.' })
  averageLatencyMs!: number | null;

  @Field(() => Float, {
    nullable: true,
    description:
      'Half of the calls took at most so many milliseconds; from a histogram, within 9.1 % (below 10 ms: within 5 ms).',
  })
  p50LatencyMs!: number | null;

  @Field(() => Float, {
    nullable: true,
    description: '95 % of the calls took at most so many milliseconds; as exact as `p50LatencyMs`.',
  })
  p95LatencyMs!: number | null;

  @Field(() => Float, {
    nullable: true,
    description: 'Milliseconds from admission to the first token of streamed calls, on average.',
  })
  averageTimeToFirstTokenMs!: number | null;

  @Field(() => Float, {
    nullable: true,
    description:
      '95 % of the streamed calls had their first token within so many milliseconds; as exact as `p50LatencyMs`.',
  })
  p95TimeToFirstTokenMs!: number | null;
}

@ObjectType('UsageRow', {
  simpleResolvers: true,
  description: 'One group, or one interval of it. Fields of dimensions that were not asked for are null.',
})
export class UsageRowType {
  @Field(() => DateTime, { nullable: true, description: 'Start of the interval; null without `interval`.' })
  at!: Date | null;

  @Field(() => ID, { nullable: true, description: 'Dimension MODEL.' })
  model!: string | null;

  @Field(() => String, { nullable: true, description: 'Dimension PROVIDER.' })
  provider!: string | null;

  @Field(() => ScenarioEnum, { nullable: true, description: 'Dimension SCENARIO.' })
  scenario!: Scenario | null;

  @Field(() => String, { nullable: true, description: 'Dimension AGENT; also null for calls without a label.' })
  agent!: string | null;

  @Field(() => UpstreamEnum, { nullable: true, description: 'Dimension UPSTREAM.' })
  upstream!: Upstream | null;

  @Field(() => CallStatusEnum, { nullable: true, description: 'Dimension STATUS.' })
  status!: CallStatus | null;

  @Field(() => UsageFiguresType, { description: 'What it used and cost.' })
  figures!: UsageFiguresType;
}

@ObjectType('UsageReport', { simpleResolvers: true, description: 'What was used and what it cost.' })
export class UsageReportType {
  @Field(() => DateTime, { description: 'Start of the report, inclusive.' })
  from!: Date;

  @Field(() => DateTime, { description: 'End of the report, exclusive.' })
  to!: Date;

  @Field(() => UsageFiguresType, { description: 'All groups together, those beyond `limit` included.' })
  totals!: UsageFiguresType;

  @Field(() => [UsageRowType], {
    description: 'The groups; with `interval` each with all its intervals, in time order.',
  })
  rows!: UsageRowType[];

  @Field(() => Boolean, { description: 'More groups than `limit`.' })
  truncated!: boolean;

  @Field(() => DateTime, {
    description:
      'The moment whose knowledge the figures are made of: the one that was asked for, or that of the answer.',
  })
  pricesAsOf!: Date;

  @Field(() => Int, {
    description:
      'Number of the price book that the answer used: its newest record at that moment; 0 where it had none.',
  })
  priceBook!: number;
}
