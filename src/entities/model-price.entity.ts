import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One line of the append-only price book. */
@Entity('model_prices')
@Check('model_prices_source_check', `source IN ('ADMIN', 'PROXY', 'FALLBACK')`)
@Index('model_prices_model_effective_from_idx', ['model', 'effectiveFrom'])
export class ModelPrice {
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'model_prices_pkey' })
  number!: string;

  @Column('text')
  model!: string;

  /** The proxy's deployment id, where deployments of one alias differ. */
  @Column('text', { nullable: true })
  deployment!: string | null;

  @Column('text', { name: 'organization_id', nullable: true })
  organizationId!: string | null;

  @Column('text')
  source!: string;

  @Column('timestamptz', { name: 'effective_from' })
  effectiveFrom!: Date;

  @Column('timestamptz', { name: 'effective_to', nullable: true })
  effectiveTo!: Date | null;

  @Column('timestamptz', { name: 'recorded_at', default: () => 'weir.now()' })
  recordedAt!: Date;

  /** The user who recorded it; null: the installation itself. */
  @Column('text', { name: 'recorded_by', nullable: true })
  recordedBy!: string | null;

  @Column('text', { name: 'service_tier', nullable: true })
  serviceTier!: string | null;

  /** Dollars per token as decimal strings. */
  @Column('jsonb')
  rates!: unknown;

  @Column('text', { nullable: true })
  note!: string | null;
}
