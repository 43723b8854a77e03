import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A process that runs calls, and says so by renewing its row. */
@Entity('owners')
export class Owner {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'owners_pkey' })
  id!: string;

  @Column('timestamptz', { name: 'started_at', default: () => 'weir.now()' })
  startedAt!: Date;

  @Column('timestamptz', { name: 'renewed_at', default: () => 'weir.now()' })
  renewedAt!: Date;

  /** What others compare, so that no clock matters. A bigint: text in JavaScript. */
  @Column('bigint', { default: 0 })
  renewals!: string;

  @Column('timestamptz', { name: 'dead_at', nullable: true })
  deadAt!: Date | null;
}
