import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ModelPrice } from './model-price.entity';

/** A price record that is in force for calls that were settled before it. */
@Entity('price_changes')
@Index('price_changes_model_idx', ['model', 'book'])
export class PriceChange {
  /** The record's number. */
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'price_changes_pkey' })
  book!: string;

  @ManyToOne(() => ModelPrice, { nullable: false })
  @JoinColumn({ name: 'book', foreignKeyConstraintName: 'price_changes_book_fkey' })
  price!: Relation<ModelPrice>;

  @Column('text')
  model!: string;

  /** Whose own price it is; null: a general price. */
  @Column('text', { name: 'organization_id', nullable: true })
  organizationId!: string | null;

  @Column('timestamptz', { name: 'recorded_at' })
  recordedAt!: Date;

  @Column('timestamptz', { name: 'starts_at' })
  startsAt!: Date;

  /** May be infinity, as may be the next: read by SQL, not by the entity. */
  @Column('timestamptz', { name: 'ends_at' })
  endsAt!: Date;

  /** The differences of calls before this time are in the cubes; infinity: all of them. */
  @Column('timestamptz', { name: 'folded_before', default: () => "'-infinity'" })
  foldedBefore!: Date;
}
