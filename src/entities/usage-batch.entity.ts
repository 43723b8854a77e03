import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** Usage rows of one organisation that one transaction wrote, until they are in the rollups. */
@Entity('usage_batches')
@Index('usage_batches_settled_at_idx', ['settledAt', 'id'])
export class UsageBatch {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'usage_batches_pkey' })
  organizationId!: string;

  /**
   * Of the settlement: shared by the rows of all its organisations. No order: `settledAt` says which is the later one.
   */
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'usage_batches_pkey' })
  id!: string;

  /** When its calls were made: the first and the last. */
  @Column('timestamptz', { name: 'from_at' })
  fromAt!: Date;

  @Column('timestamptz', { name: 'to_at' })
  toAt!: Date;

  @Column('integer')
  rows!: number;

  @Column('timestamptz', { name: 'settled_at' })
  settledAt!: Date;
}
