import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, Unique, type Relation } from 'typeorm';
import { BudgetEntity } from './budget.entity';

/** A threshold was reached: once per budget, period and threshold. */
@Entity('budget_alerts')
@Unique('budget_alerts_once_key', ['organizationId', 'budgetId', 'period', 'startsOn', 'percent'])
@Index('budget_alerts_at_idx', ['at'])
export class BudgetAlertEntity {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'budget_alerts_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'budget_alerts_pkey' })
  id!: string;

  @Column('text', { name: 'budget_id' })
  budgetId!: string;

  @ManyToOne(() => BudgetEntity, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'budget_alerts_budget_id_fkey',
    },
    { name: 'budget_id', referencedColumnName: 'id', foreignKeyConstraintName: 'budget_alerts_budget_id_fkey' },
  ])
  budget!: Relation<BudgetEntity>;

  /** DAY, WEEK or MONTH: with its date the period. */
  @Column('text')
  period!: string;

  /** The period's local date, YYYY-MM-DD. */
  @Column('date', { name: 'starts_on' })
  startsOn!: string;

  @Column('integer')
  percent!: number;

  /** Dollars, decimal string, in that moment; the limit, too. */
  @Column('numeric')
  spent!: string;

  @Column('numeric', { name: 'limit_amount' })
  limitAmount!: string;

  /** Whole milliseconds, later than every alert before. */
  @Column('timestamptz')
  at!: Date;
}
