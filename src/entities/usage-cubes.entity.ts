import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

// One class per cube. Read and written by SQL only; bigint and numeric are text in JavaScript. Of the dimensions, ''
// stands for none.

/** What a cell sums up. */
abstract class Cell {
  @Column('bigint')
  calls!: string;

  @Column('bigint', { name: 'failed_calls' })
  failedCalls!: string;

  @Column('bigint', { name: 'prompt_tokens' })
  promptTokens!: string;

  @Column('bigint', { name: 'cache_read_tokens' })
  cacheReadTokens!: string;

  @Column('bigint', { name: 'cache_write_tokens' })
  cacheWriteTokens!: string;

  @Column('bigint', { name: 'completion_tokens' })
  completionTokens!: string;

  @Column('bigint', { name: 'reasoning_tokens' })
  reasoningTokens!: string;

  /** Dollars, of the priced calls. */
  @Column('numeric')
  cost!: string;

  @Column('bigint', { name: 'priced_calls' })
  pricedCalls!: string;

  /** Calls with tokens but without a price. */
  @Column('bigint', { name: 'unpriced_calls' })
  unpricedCalls!: string;

  @Column('bigint', { name: 'latency_count' })
  latencyCount!: string;

  /** Milliseconds, summed. */
  @Column('bigint', { name: 'latency_ms' })
  latencyMs!: string;

  /** 64 buckets of 12 decimal digits each: see weir.histogram. */
  @Column('numeric', { name: 'latency_histogram' })
  latencyHistogram!: string;

  @Column('bigint', { name: 'first_token_count' })
  firstTokenCount!: string;

  @Column('bigint', { name: 'first_token_ms' })
  firstTokenMs!: string;

  @Column('numeric', { name: 'first_token_histogram' })
  firstTokenHistogram!: string;
}

/** By UTC day. */
@Entity('usage_daily')
export class UsageDaily extends Cell {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'usage_daily_pkey' })
  organizationId!: string;

  /** YYYY-MM-DD. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_daily_pkey' })
  day!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_pkey' })
  model!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_pkey' })
  provider!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_pkey' })
  upstream!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_pkey' })
  scenario!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_pkey' })
  status!: string;

  /** -infinity for what was booked when it happened; for later knowledge the time of that entry. */
  @PrimaryColumn('timestamptz', { name: 'entry_at', primaryKeyConstraintName: 'usage_daily_pkey' })
  entryAt!: Date;
}

/** By UTC day. */
@Entity('usage_daily_by_project')
@Index('usage_daily_by_project_entry_at_idx', ['organizationId', 'entryAt'], { where: "entry_at > '-infinity'" })
export class UsageDailyByProject extends Cell {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'usage_daily_by_project_pkey' })
  organizationId!: string;

  /** YYYY-MM-DD. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_daily_by_project_pkey' })
  day!: string;

  @PrimaryColumn('text', { name: 'project_id', primaryKeyConstraintName: 'usage_daily_by_project_pkey' })
  projectId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_by_project_pkey' })
  model!: string;

  /** -infinity for what was booked when it happened; for later knowledge the time of that entry. */
  @PrimaryColumn('timestamptz', { name: 'entry_at', primaryKeyConstraintName: 'usage_daily_by_project_pkey' })
  entryAt!: Date;
}

/** By UTC day. */
@Entity('usage_daily_by_user')
@Index('usage_daily_by_user_user_id_day_idx', ['organizationId', 'userId', 'day'])
export class UsageDailyByUser extends Cell {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'usage_daily_by_user_pkey' })
  organizationId!: string;

  /** YYYY-MM-DD. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_daily_by_user_pkey' })
  day!: string;

  @PrimaryColumn('text', { name: 'user_id', primaryKeyConstraintName: 'usage_daily_by_user_pkey' })
  userId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_by_user_pkey' })
  model!: string;

  /** -infinity for what was booked when it happened; for later knowledge the time of that entry. */
  @PrimaryColumn('timestamptz', { name: 'entry_at', primaryKeyConstraintName: 'usage_daily_by_user_pkey' })
  entryAt!: Date;
}

/** Of all organisations, by UTC day. */
@Entity('usage_daily_overall')
export class UsageDailyOverall extends Cell {
  /** YYYY-MM-DD. */
  @PrimaryColumn('date', { primaryKeyConstraintName: 'usage_daily_overall_pkey' })
  day!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_overall_pkey' })
  model!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_daily_overall_pkey' })
  provider!: string;

  /** -infinity for what was booked when it happened; for later knowledge the time of that entry. */
  @PrimaryColumn('timestamptz', { name: 'entry_at', primaryKeyConstraintName: 'usage_daily_overall_pkey' })
  entryAt!: Date;
}

/** By quarter of an hour, of the last 60 days. */
@Entity('usage_quarter_hourly')
@Index('usage_quarter_hourly_at_idx', ['at'], { type: 'brin' })
export class UsageQuarterHourly extends Cell {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'usage_quarter_hourly_pkey' })
  organizationId!: string;

  /** The beginning of the quarter. */
  @PrimaryColumn('timestamptz', { primaryKeyConstraintName: 'usage_quarter_hourly_pkey' })
  at!: Date;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'usage_quarter_hourly_pkey' })
  model!: string;

  /** -infinity for what was booked when it happened; for later knowledge the time of that entry. */
  @PrimaryColumn('timestamptz', { name: 'entry_at', primaryKeyConstraintName: 'usage_quarter_hourly_pkey' })
  entryAt!: Date;
}
