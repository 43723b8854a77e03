import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Organization } from './organization.entity';

@Entity('projects')
@Index('projects_id_idx', ['id'])
@Index('projects_organization_id_created_at_idx', ['organizationId', 'createdAt', 'id'])
export class Project {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'projects_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'projects_pkey' })
  id!: string;

  @ManyToOne(() => Organization, { nullable: false })
  @JoinColumn({ name: 'organization_id', foreignKeyConstraintName: 'projects_organization_id_fkey' })
  organization!: Relation<Organization>;

  @Column('text')
  name!: string;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;
}
