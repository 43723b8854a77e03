import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** The one row that says which usage rows were removed; their figures are in the cubes. */
@Entity('usage_retention')
@Check('usage_retention_only_row_check', 'only_row')
export class UsageRetention {
  @PrimaryColumn('boolean', { name: 'only_row', default: true, primaryKeyConstraintName: 'usage_retention_pkey' })
  onlyRow!: boolean;

  /** Those of calls before this time. */
  @Column('timestamptz', { name: 'dropped_before', default: () => "'-infinity'" })
  droppedBefore!: Date;
}
