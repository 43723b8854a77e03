import 'reflect-metadata';
import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';

@Entity('users')
export class User {
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ type: 'text', name: 'organization_id' }) organizationId!: string;
  @Column({ type: 'text' }) role!: string;
  @Column({ type: 'boolean' }) blocked!: boolean;
}

@Entity('api_tokens')
export class ApiToken {
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ type: 'bytea' }) hash!: Buffer;
  @Column({ type: 'timestamptz', name: 'expires_at', nullable: true }) expiresAt!: Date | null;
  @Column({ type: 'timestamptz', name: 'revoked_at', nullable: true }) revokedAt!: Date | null;
  @ManyToOne(() => User) @JoinColumn({ name: 'user_id' }) user!: Relation<User>;
}

@Entity('calls_in_flight')
export class CallInFlight {
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ type: 'timestamptz', name: 'occurred_at' }) occurredAt!: Date;
  @Column({ type: 'text', name: 'organization_id' }) organizationId!: string;
  @Column({ type: 'text', name: 'user_id' }) userId!: string;
  @Column({ type: 'text', name: 'token_id' }) tokenId!: string;
  @Column({ type: 'text' }) scenario!: string;
  @Column({ type: 'text' }) door!: string;
  @Column({ type: 'text' }) operation!: string;
  @Column({ type: 'text', name: 'trace_id' }) traceId!: string;
  @Column({ type: 'text' }) model!: string;
  @Column({ type: 'text' }) upstream!: string;
  @Column({ type: 'boolean' }) streamed!: boolean;
  @Column({ type: 'integer', name: 'max_tokens' }) maxTokens!: number;
  @Column({ type: 'integer', name: 'prompt_tokens_estimate' }) promptTokensEstimate!: number;
  @Column({ type: 'text' }) owner!: string;
  @Column({ type: 'timestamptz', name: 'deadline_at' }) deadlineAt!: Date;
}

@Entity('llm_usage')
export class LlmUsage {
  @PrimaryColumn({ type: 'text', name: 'organization_id' }) organizationId!: string;
  @PrimaryColumn({ type: 'timestamptz', name: 'occurred_at' }) occurredAt!: Date;
  @PrimaryColumn({ type: 'text' }) id!: string;
  @Column({ type: 'text', name: 'user_id' }) userId!: string;
  @Column({ type: 'text', name: 'token_id' }) tokenId!: string;
  @Column({ type: 'text' }) scenario!: string;
  @Column({ type: 'text' }) door!: string;
  @Column({ type: 'text' }) operation!: string;
  @Column({ type: 'text', name: 'trace_id' }) traceId!: string;
  @Column({ type: 'boolean' }) streamed!: boolean;
  @Column({ type: 'text' }) model!: string;
  @Column({ type: 'text', name: 'served_model' }) servedModel!: string;
  @Column({ type: 'text' }) upstream!: string;
  @Column({ type: 'integer' }) attempts!: number;
  @Column({ type: 'text' }) status!: string;
  @Column({ type: 'text', name: 'finish_reason' }) finishReason!: string;
  @Column({ type: 'integer', name: 'uncached_prompt_tokens' }) uncachedPromptTokens!: number;
  @Column({ type: 'integer', name: 'cache_read_tokens' }) cacheReadTokens!: number;
  @Column({ type: 'integer', name: 'cache_write_tokens' }) cacheWriteTokens!: number;
  @Column({ type: 'integer', name: 'cache_write_one_hour_tokens' }) cacheWriteOneHourTokens!: number;
  @Column({ type: 'integer', name: 'output_tokens' }) outputTokens!: number;
  @Column({ type: 'integer', name: 'reasoning_tokens' }) reasoningTokens!: number;
  @Column({ type: 'text', name: 'usage_source' }) usageSource!: string;
  @Column({ type: 'jsonb', name: 'raw_usage' }) rawUsage!: object;
  @Column({ type: 'integer', name: 'latency_ms' }) latencyMs!: number;
}
