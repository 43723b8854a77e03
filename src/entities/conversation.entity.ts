import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { Project } from './project.entity';
import { User } from './user.entity';

@Entity('conversations')
@Index('conversations_user_id_created_at_idx', ['organizationId', 'userId', 'createdAt', 'id'])
export class ConversationEntity {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'conversations_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'conversations_pkey' })
  id!: string;

  @Column('text', { name: 'user_id' })
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'conversations_user_id_fkey',
    },
    { name: 'user_id', referencedColumnName: 'id', foreignKeyConstraintName: 'conversations_user_id_fkey' },
  ])
  user!: Relation<User>;

  @Column('text', { name: 'project_id', nullable: true })
  projectId!: string | null;

  @ManyToOne(() => Project, { nullable: true })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'conversations_project_id_fkey',
    },
    { name: 'project_id', referencedColumnName: 'id', foreignKeyConstraintName: 'conversations_project_id_fkey' },
  ])
  project!: Relation<Project> | null;

  @Column('text', { nullable: true })
  title!: string | null;

  /** Last message of the current branch. */
  @Column('text', { name: 'head_id', nullable: true })
  headId!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'weir.now()' })
  updatedAt!: Date;
}
