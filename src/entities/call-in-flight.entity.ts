import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A call that was admitted and has no usage row yet. */
@Check('calls_in_flight_hold_check', `hold >= 0 AND hold < 'Infinity'`)
@Entity('calls_in_flight')
@Index('calls_in_flight_stop_reason_idx', ['owner'], { where: 'stop_reason IS NOT NULL' })
@Index('calls_in_flight_id_idx', ['id'])
export class CallInFlight {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'calls_in_flight_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'calls_in_flight_pkey' })
  id!: string;

  @Column('timestamptz', { name: 'occurred_at', default: () => 'weir.now()' })
  occurredAt!: Date;

  @Column('text', { name: 'user_id' })
  userId!: string;

  @Column('text', { name: 'token_id', nullable: true })
  tokenId!: string | null;

  @Column('text', { name: 'project_id', nullable: true })
  projectId!: string | null;

  @Column('text', { name: 'conversation_id', nullable: true })
  conversationId!: string | null;

  @Column('text', { name: 'question_id', nullable: true })
  questionId!: string | null;

  @Column('text', { nullable: true })
  agent!: string | null;

  @Column('text')
  scenario!: string;

  @Column('text', { name: 'trace_id' })
  traceId!: string;

  @Column('text')
  model!: string;

  @Column('text')
  upstream!: string;

  @Column('boolean')
  streamed!: boolean;

  @Column('integer', { name: 'max_tokens' })
  maxTokens!: number;

  @Column('integer', { name: 'prompt_tokens_estimate' })
  promptTokensEstimate!: number;

  /** The process that runs it. */
  @Column('text')
  owner!: string;

  @Column('timestamptz', { name: 'deadline_at' })
  deadlineAt!: Date;

  /** Why somebody at another replica wants it ended. */
  @Column('text', { name: 'stop_reason', nullable: true })
  stopReason!: string | null;

  @Column('text', { name: 'idempotency_key', nullable: true })
  idempotencyKey!: string | null;

  /** Dollars held on each of the budgets, decimal string; null: no price is known, and then no budget applies. */
  @Column('numeric', { nullable: true })
  hold!: string | null;

  /** The period rows that it is held on: ids and dates side by side. */
  @Column('text', { name: 'budget_ids', array: true, default: [] })
  budgetIds!: string[];

  @Column('date', { name: 'budget_dates', array: true, default: [] })
  budgetDates!: string[];

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
}
