import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Organization } from './organization.entity';

/** A limit of money for one subject and one kind of period. */
@Entity('budgets')
@Check('budgets_scope_check', `scope IN ('ORGANIZATION', 'PROJECT', 'USER', 'API_TOKEN')`)
@Check('budgets_period_check', `period IN ('DAY', 'WEEK', 'MONTH')`)
@Check('budgets_limit_check', 'limit_amount >= 0 AND soft_limit >= 0')
@Index('budgets_subject_id_idx', ['organizationId', 'subjectId'])
@Index('budgets_plan_id_idx', ['planId'], { where: 'plan_id IS NOT NULL' })
@Index('budgets_plan_user_key', ['organizationId', 'subjectId'], { unique: true, where: 'plan_id IS NOT NULL' })
export class BudgetEntity {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'budgets_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'budgets_pkey' })
  id!: string;

  @ManyToOne(() => Organization, { nullable: false })
  @JoinColumn({ name: 'organization_id', foreignKeyConstraintName: 'budgets_organization_id_fkey' })
  organization!: Relation<Organization>;

  @Column('text')
  scope!: string;

  @Column('text', { name: 'subject_id' })
  subjectId!: string;

  @Column('text')
  period!: string;

  /** Dollars, decimal string. */
  @Column('numeric', { name: 'limit_amount' })
  limitAmount!: string;

  /** Dollars, decimal string. Passing it alerts and refuses nothing. */
  @Column('numeric', { name: 'soft_limit', nullable: true })
  softLimit!: string | null;

  /** IANA name. */
  @Column('text', { name: 'time_zone', default: 'UTC' })
  timeZone!: string;

  @Column('integer', { name: 'alert_at_percent', array: true, default: [80, 90] })
  alertAtPercent!: number[];

  /** The plan that made it for its user; null: somebody set it. */
  @Column('text', { name: 'plan_id', nullable: true })
  planId!: string | null;

  /** Set by an operator: administrators of the organisation see it and cannot change it. */
  @Column('boolean', { name: 'by_operator', default: false })
  byOperator!: boolean;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'weir.now()' })
  updatedAt!: Date;
}
