import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation, Unique } from 'typeorm';
import { User } from './user.entity';

@Entity('api_tokens')
@Unique('api_tokens_hash_key', ['organizationId', 'hash'])
@Index('api_tokens_user_id_idx', ['organizationId', 'userId'])
@Index('api_tokens_id_idx', ['id'])
export class ApiToken {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'api_tokens_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'api_tokens_pkey' })
  id!: string;

  @Column('text', { name: 'user_id' })
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'api_tokens_user_id_fkey',
    },
    { name: 'user_id', referencedColumnName: 'id', foreignKeyConstraintName: 'api_tokens_user_id_fkey' },
  ])
  user!: Relation<User>;

  @Column('text')
  name!: string;

  /** SHA-256 of the secret. */
  @Column('bytea')
  hash!: Buffer;

  /** Last four characters of the secret. */
  @Column('text')
  hint!: string;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  /** The user who made it; null: the installation itself. */
  @Column('text', { name: 'created_by', nullable: true })
  createdBy!: string | null;

  @Column('timestamptz', { name: 'last_used_at', nullable: true })
  lastUsedAt!: Date | null;

  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  @Column('timestamptz', { name: 'revoked_at', nullable: true })
  revokedAt!: Date | null;
}
