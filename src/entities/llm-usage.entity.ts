import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/**
 * One row of kind CALL per admitted call, and two more for each correction of it (a REVERSAL and a CORRECTION).
 * Append-only, partitioned by month. TypeORM has no words for partitions, and would keep generated columns in a table
 * of its own, so its schema comparison leaves this table out; a test compares these columns with the migrated table
 * instead.
 */
@Entity('llm_usage', { synchronize: false })
@Index('llm_usage_batch_id_idx', ['batchId'])
@Index('llm_usage_occurred_at_idx', ['occurredAt'], { type: 'brin' })
export class LlmUsage {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'llm_usage_pkey' })
  organizationId!: string;

  @PrimaryColumn('timestamptz', { name: 'occurred_at', primaryKeyConstraintName: 'llm_usage_pkey' })
  occurredAt!: Date;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'llm_usage_pkey' })
  id!: string;

  @Column('text', { name: 'user_id' })
  userId!: string;

  @Column('text', { name: 'token_id', nullable: true })
  tokenId!: string | null;

  @Column('text', { name: 'project_id', nullable: true })
  projectId!: string | null;

  @Column('text', { name: 'conversation_id', nullable: true })
  conversationId!: string | null;

  @Column('text', { nullable: true })
  agent!: string | null;

  @Column('text')
  scenario!: string;

  @Column('text', { name: 'trace_id' })
  traceId!: string;

  @Column('boolean')
  streamed!: boolean;

  @Column('text')
  model!: string;

  @Column('text', { name: 'served_model' })
  servedModel!: string;

  @Column('text', { nullable: true })
  provider!: string | null;

  @Column('text', { nullable: true })
  deployment!: string | null;

  @Column('text')
  upstream!: string;

  @Column('integer')
  attempts!: number;

  /** COMPLETED, STOPPED, FAILED or LOST. */
  @Column('text')
  status!: string;

  @Column('text', { name: 'error_code', nullable: true })
  errorCode!: string | null;

  @Column('text', { name: 'finish_reason', nullable: true })
  finishReason!: string | null;

  @Column('integer', { name: 'uncached_prompt_tokens' })
  uncachedPromptTokens!: number;

  @Column('integer', { name: 'cache_read_tokens' })
  cacheReadTokens!: number;

  @Column('integer', { name: 'cache_write_tokens' })
  cacheWriteTokens!: number;

  /** Part of the cache write tokens. */
  @Column('integer', { name: 'cache_write_one_hour_tokens' })
  cacheWriteOneHourTokens!: number;

  /** Completion without reasoning. */
  @Column('integer', { name: 'output_tokens' })
  outputTokens!: number;

  @Column('integer', { name: 'reasoning_tokens' })
  reasoningTokens!: number;

  @Column({ type: 'integer', name: 'prompt_tokens', insert: false, update: false })
  promptTokens!: number;

  @Column({ type: 'integer', name: 'completion_tokens', insert: false, update: false })
  completionTokens!: number;

  @Column({ type: 'integer', name: 'total_tokens', insert: false, update: false })
  totalTokens!: number;

  @Column('text', { name: 'usage_source' })
  usageSource!: string;

  /** As the provider sent it. */
  @Column('jsonb', { name: 'raw_usage', nullable: true })
  rawUsage!: unknown;

  /** The record of the price book that the cost was computed with; null: no price known, and then no cost. */
  @Column('bigint', { name: 'price_number', nullable: true })
  priceNumber!: string | null;

  /** Dollars, decimal string. */
  @Column('numeric', { nullable: true })
  cost!: string | null;

  @Column('numeric', { name: 'cost_input', nullable: true })
  costInput!: string | null;

  @Column('numeric', { name: 'cost_cache_read', nullable: true })
  costCacheRead!: string | null;

  @Column('numeric', { name: 'cost_cache_write', nullable: true })
  costCacheWrite!: string | null;

  @Column('numeric', { name: 'cost_output', nullable: true })
  costOutput!: string | null;

  @Column('numeric', { name: 'cost_reasoning', nullable: true })
  costReasoning!: string | null;

  @Column('numeric', { name: 'cost_request', nullable: true })
  costRequest!: string | null;

  /** The proxy's own figure, dollars, for comparison only. */
  @Column('numeric', { name: 'proxy_cost', nullable: true })
  proxyCost!: string | null;

  @Column('integer', { name: 'latency_ms', nullable: true })
  latencyMs!: number | null;

  @Column('integer', { name: 'time_to_first_token_ms', nullable: true })
  timeToFirstTokenMs!: number | null;

  @Column('integer', { name: 'omitted_messages', default: 0 })
  omittedMessages!: number;

  @Column('timestamptz', { name: 'settled_at', default: () => 'weir.now()' })
  settledAt!: Date;

  /** CALL, REVERSAL (what was booked, negative) or CORRECTION (what is true). */
  @Column('text', { default: 'CALL' })
  kind!: string;

  /** Calls that the row counts for: -1 for a reversal, else 1. */
  @Column({ type: 'smallint', insert: false, update: false })
  sign!: number;

  /** Reversals and corrections: the id of the call. */
  @Column('text', { name: 'corrects_id', nullable: true })
  correctsId!: string | null;

  /** Reversals and corrections: which correction of the call they belong to, from 1. */
  @Column('integer', { default: 0 })
  correction!: number;

  @Column('text', { name: 'correction_reason', nullable: true })
  correctionReason!: string | null;

  /** The period rows that the cost was booked on: ids and dates side by side. */
  @Column('text', { name: 'budget_ids', array: true, default: [] })
  budgetIds!: string[];

  @Column('date', { name: 'budget_dates', array: true, default: [] })
  budgetDates!: string[];

  /** The transaction that wrote the row, as `usage_batches` names it; 0: it was in the cubes since they exist. */
  @Column('bigint', { name: 'batch_id' })
  batchId!: string;

  /** The newest record of the price book that was known when the call was priced. */
  @Column('bigint', { name: 'book_number', default: 0 })
  bookNumber!: string;

  /** The provider's, where it named one that is not its usual one. */
  @Column('text', { name: 'service_tier', nullable: true })
  serviceTier!: string | null;

  /** Reversals: dollars that budgets got back, which is what they had been told. */
  @Column('numeric', { name: 'budget_cost', nullable: true })
  budgetCost!: string | null;

  /** The protocol that it came through. */
  @Column('text')
  door!: string;

  /** CHAT or EMBEDDING. */
  @Column('text')
  operation!: string;

  @Column('text', { name: 'request_id', nullable: true })
  requestId!: string | null;

  /** The caller's plan at the time. */
  @Column('text', { name: 'plan_id', nullable: true })
  planId!: string | null;

  /** One sign-in of the caller. */
  @Column('text', { name: 'session_id', nullable: true })
  sessionId!: string | null;

  /** An HMAC of the end user that the client named. */
  @Column('text', { name: 'end_user', nullable: true })
  endUser!: string | null;

  @Column('text', { array: true, default: [] })
  tags!: string[];

  /** A hash of what was asked. */
  @Column('text', { name: 'call_hash', nullable: true })
  callHash!: string | null;

  /** Tokens of the prompt before anything of the history was left out, estimated. */
  @Column('integer', { name: 'asked_input_tokens', nullable: true })
  askedInputTokens!: number | null;

  @Column('text', { name: 'reasoning_effort', nullable: true })
  reasoningEffort!: string | null;

  @Column('bigint', { name: 'route_version', nullable: true })
  routeVersion!: string | null;

  @Column('text', { name: 'route_rule', nullable: true })
  routeRule!: string | null;

  /** What the choice depended on: tools, images, schema, explicit, sticky, downgraded. */
  @Column('text', { name: 'route_flags', array: true, default: [] })
  routeFlags!: string[];

  /**
   * Dollars, decimal string: of the tightest budget that applied, before this call was reserved; null: none applied.
   */
  @Column('numeric', { name: 'budget_left', nullable: true })
  budgetLeft!: string | null;

  @Column('numeric', { name: 'budget_left_percent', nullable: true })
  budgetLeftPercent!: string | null;

  @Column('integer', { name: 'max_tokens', nullable: true })
  maxTokens!: number | null;

  @Column('integer', { name: 'prompt_tokens_estimate', nullable: true })
  promptTokensEstimate!: number | null;

  /** Dollars, decimal string: what was reserved on each budget. */
  @Column('numeric', { nullable: true })
  hold!: string | null;

  /** Targets that were asked in vain or left out before the one that answered. */
  @Column('jsonb', { nullable: true })
  fallbacks!: unknown;

  /** The proxy's response cache: ASKED and not found, HIT, or NO. */
  @Column('text', { name: 'cache_use', default: 'NO' })
  cacheUse!: string;

  /** Tokens that a hit would have used. */
  @Column('integer', { name: 'cached_uncached_prompt_tokens', nullable: true })
  cachedUncachedPromptTokens!: number | null;

  @Column('integer', { name: 'cached_cache_read_tokens', nullable: true })
  cachedCacheReadTokens!: number | null;

  @Column('integer', { name: 'cached_cache_write_tokens', nullable: true })
  cachedCacheWriteTokens!: number | null;

  @Column('integer', { name: 'cached_cache_write_one_hour_tokens', nullable: true })
  cachedCacheWriteOneHourTokens!: number | null;

  @Column('integer', { name: 'cached_output_tokens', nullable: true })
  cachedOutputTokens!: number | null;

  @Column('integer', { name: 'cached_reasoning_tokens', nullable: true })
  cachedReasoningTokens!: number | null;

  /** Why it went to a provider directly: OUTAGE or CONFIGURED. */
  @Column('text', { name: 'direct_reason', nullable: true })
  directReason!: string | null;
}
