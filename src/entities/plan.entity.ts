import { Column, Entity, PrimaryColumn, Unique } from 'typeorm';

@Entity('plans')
@Unique('plans_name_key', ['name'])
export class PlanEntity {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'plans_pkey' })
  id!: string;

  @Column('text')
  name!: string;

  /** Exact model ids and `provider/*` patterns. */
  @Column('text', { array: true })
  models!: string[];

  @Column('text', { name: 'default_model', nullable: true })
  defaultModel!: string | null;

  @Column('integer', { name: 'requests_per_minute', nullable: true })
  requestsPerMinute!: number | null;

  @Column('integer', { name: 'tokens_per_minute', nullable: true })
  tokensPerMinute!: number | null;

  @Column('integer', { name: 'parallel_calls', nullable: true })
  parallelCalls!: number | null;

  @Column('integer', { name: 'max_output_tokens', nullable: true })
  maxOutputTokens!: number | null;

  /** Dollars, decimal string. */
  @Column('numeric', { name: 'monthly_budget', nullable: true })
  monthlyBudget!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'weir.now()' })
  updatedAt!: Date;
}
