import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ModelPrice } from './model-price.entity';

/**
 * The rates of a record for prompts of one length, in dollars per token, with what the record leaves out filled in.
 * Written by a trigger of the price book only.
 */
@Entity('price_rates')
export class PriceRate {
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'price_rates_pkey' })
  number!: string;

  @ManyToOne(() => ModelPrice, { nullable: false })
  @JoinColumn({ name: 'number', foreignKeyConstraintName: 'price_rates_number_fkey' })
  price!: Relation<ModelPrice>;

  /** Holds for prompts longer than this. */
  @PrimaryColumn('integer', { name: 'above_prompt_tokens', primaryKeyConstraintName: 'price_rates_pkey' })
  abovePromptTokens!: number;

  @Column('integer', { name: 'up_to_prompt_tokens' })
  upToPromptTokens!: number;

  /** Whose own price it is; null: a general price. */
  @Column('text', { name: 'organization_id', nullable: true })
  organizationId!: string | null;

  @Column('numeric')
  input!: string;

  @Column('numeric', { name: 'cache_read' })
  cacheRead!: string;

  @Column('numeric', { name: 'cache_write' })
  cacheWrite!: string;

  @Column('numeric', { name: 'cache_write_one_hour' })
  cacheWriteOneHour!: string;

  @Column('numeric')
  output!: string;

  /** null: reasoning is priced as output. */
  @Column('numeric', { nullable: true })
  reasoning!: string | null;

  /** Dollars per call. */
  @Column('numeric', { name: 'per_request' })
  perRequest!: string;
}
