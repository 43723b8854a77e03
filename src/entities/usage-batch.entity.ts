import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** A transaction that wrote usage rows which are not yet in the cubes. Written and deleted by SQL functions only. */
@Entity('usage_batches')
export class UsageBatch {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'ALWAYS', primaryKeyConstraintName: 'usage_batches_pkey' })
  id!: string;

  @Column('text', { array: true })
  organizations!: string[];

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
