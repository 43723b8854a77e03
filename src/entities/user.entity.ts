import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Organization } from './organization.entity';
import { PlanEntity } from './plan.entity';

/** A person. A deleted one stays as an empty row, so that the figures keep something to point at. */
@Entity('users')
@Check('users_role_check', `role IN ('MEMBER', 'ANALYST', 'ADMIN', 'OPERATOR')`)
@Index('users_external_id_key', ['organizationId', 'externalId'], { unique: true, where: 'external_id IS NOT NULL' })
@Index('users_erased_subject_idx', ['organizationId', 'erasedSubject'], { where: 'erased_subject IS NOT NULL' })
@Index('users_id_idx', ['id'])
@Index('users_organization_id_created_at_idx', ['organizationId', 'createdAt', 'id'])
export class User {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'users_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'users_pkey' })
  id!: string;

  @ManyToOne(() => Organization, { nullable: false })
  @JoinColumn({ name: 'organization_id', foreignKeyConstraintName: 'users_organization_id_fkey' })
  organization!: Relation<Organization>;

  @Column('text')
  name!: string;

  @Column('text', { nullable: true })
  email!: string | null;

  /** The subject at the identity provider. */
  @Column('text', { name: 'external_id', nullable: true })
  externalId!: string | null;

  @Column('text')
  role!: string;

  @Column('text', { name: 'plan_id' })
  planId!: string;

  @ManyToOne(() => PlanEntity, { nullable: false })
  @JoinColumn({ name: 'plan_id', foreignKeyConstraintName: 'users_plan_id_fkey' })
  plan!: Relation<PlanEntity>;

  @Column('boolean', { default: false })
  blocked!: boolean;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'deleted_at', nullable: true })
  deletedAt!: Date | null;

  /** SHA-256 of organisation and subject of a deleted person. */
  @Column('bytea', { name: 'erased_subject', nullable: true })
  erasedSubject!: Buffer | null;
}
