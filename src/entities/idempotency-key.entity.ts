import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A key that a caller gave to a paid operation, and how that ended. */
@Entity('idempotency_keys')
@Index('idempotency_keys_expires_at_idx', ['expiresAt'], { where: 'expires_at IS NOT NULL' })
export class IdempotencyKey {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'idempotency_keys_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { name: 'user_id', primaryKeyConstraintName: 'idempotency_keys_pkey' })
  userId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_keys_pkey' })
  key!: string;

  /** SHA-256 of the input. */
  @Column('bytea', { name: 'input_hash' })
  inputHash!: Buffer;

  @Column('text', { name: 'call_id' })
  callId!: string;

  @Column('timestamptz', { name: 'first_used_at' })
  firstUsedAt!: Date;

  /** How the call ended, as it was told; null while it runs. */
  @Column('jsonb', { nullable: true })
  stored!: unknown;

  /** A day after the end; null while it runs. */
  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;
}
