import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The number of the newest record of a model. Written by a trigger of the price book only. */
@Entity('price_versions')
export class PriceVersion {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'price_versions_pkey' })
  model!: string;

  @Column('bigint')
  number!: string;
}
