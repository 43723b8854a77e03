import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { BudgetEntity } from './budget.entity';

/** What one budget has spent and holds in one of its periods. Written by SQL functions only, under the row's lock. */
@Entity('budget_periods')
export class BudgetPeriod {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'budget_periods_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { name: 'budget_id', primaryKeyConstraintName: 'budget_periods_pkey' })
  budgetId!: string;

  @ManyToOne(() => BudgetEntity, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'budget_periods_budget_id_fkey',
    },
    { name: 'budget_id', referencedColumnName: 'id', foreignKeyConstraintName: 'budget_periods_budget_id_fkey' },
  ])
  budget!: Relation<BudgetEntity>;

  /** The local date in the budget's zone, YYYY-MM-DD. */
  @PrimaryColumn('date', { name: 'starts_on', primaryKeyConstraintName: 'budget_periods_pkey' })
  startsOn!: string;

  @Column('timestamptz', { name: 'starts_at' })
  startsAt!: Date;

  @Column('timestamptz', { name: 'ends_at' })
  endsAt!: Date;

  /** Dollars, decimal string: the costs of settled calls, as booked then. */
  @Column('numeric', { default: 0 })
  spent!: string;

  /** Dollars, decimal string: the worst case of the calls that run. */
  @Column('numeric', { default: 0 })
  held!: string;

  /** Dollars, decimal string: the part of `spent` that was booked above the limit. */
  @Column('numeric', { default: 0 })
  overage!: string;

  /** Dollars, decimal strings: the limits of the budget when the row was last written. */
  @Column('numeric', { name: 'limit_amount', nullable: true })
  limitAmount!: string | null;

  @Column('numeric', { name: 'soft_limit', nullable: true })
  softLimit!: string | null;
}
