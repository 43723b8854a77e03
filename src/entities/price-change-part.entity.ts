import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { PriceChange } from './price-change.entity';

/**
 * Calls that a price change concerns, and the record that was in force for them before. Parts of one change exclude
 * each other.
 */
@Entity('price_change_parts')
export class PriceChangePart {
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'price_change_parts_pkey' })
  book!: string;

  @ManyToOne(() => PriceChange, { nullable: false })
  @JoinColumn({ name: 'book', foreignKeyConstraintName: 'price_change_parts_book_fkey' })
  change!: Relation<PriceChange>;

  @PrimaryColumn('integer', { primaryKeyConstraintName: 'price_change_parts_pkey' })
  part!: number;

  @Column('timestamptz', { name: 'starts_at' })
  startsAt!: Date;

  @Column('timestamptz', { name: 'ends_at' })
  endsAt!: Date;

  /** These, or where not "listed" all but these; as are the next two. */
  @Column('text', { array: true })
  organizations!: string[];

  @Column('boolean', { name: 'organizations_listed' })
  organizationsListed!: boolean;

  @Column('text', { array: true })
  deployments!: string[];

  @Column('boolean', { name: 'deployments_listed' })
  deploymentsListed!: boolean;

  @Column('text', { name: 'service_tiers', array: true })
  serviceTiers!: string[];

  @Column('boolean', { name: 'service_tiers_listed' })
  serviceTiersListed!: boolean;

  /** The number of the record that was in force before; null: there was none. */
  @Column('bigint', { nullable: true })
  previous!: string | null;
}
