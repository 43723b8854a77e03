import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { User } from './user.entity';

/**
 * The user's key at the proxy. What is written here is what the proxy has confirmed; what it should be is the user's
 * row.
 */
@Entity('virtual_keys')
export class VirtualKey {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'virtual_keys_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { name: 'user_id', primaryKeyConstraintName: 'virtual_keys_pkey' })
  userId!: string;

  @ManyToOne(() => User, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'virtual_keys_user_id_fkey',
    },
    { name: 'user_id', referencedColumnName: 'id', foreignKeyConstraintName: 'virtual_keys_user_id_fkey' },
  ])
  user!: Relation<User>;

  /** Encrypted: see services/keys/cipher.ts. */
  @Column('bytea')
  secret!: Buffer;

  @Column('text')
  hint!: string;

  @Column('text', { name: 'plan_id' })
  planId!: string;

  @Column('boolean', { default: false })
  confirmed!: boolean;

  @Column('boolean', { default: false })
  blocked!: boolean;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'rotated_at', nullable: true })
  rotatedAt!: Date | null;
}
