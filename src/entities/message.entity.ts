import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn, Unique, type Relation } from 'typeorm';
import { ConversationEntity } from './conversation.entity';

@Entity('messages')
@Unique('messages_position_key', ['organizationId', 'conversationId', 'position'])
export class MessageEntity {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'messages_pkey' })
  organizationId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'messages_pkey' })
  id!: string;

  @Column('text', { name: 'conversation_id' })
  conversationId!: string;

  @ManyToOne(() => ConversationEntity, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn([
    {
      name: 'organization_id',
      referencedColumnName: 'organizationId',
      foreignKeyConstraintName: 'messages_conversation_id_fkey',
    },
    { name: 'conversation_id', referencedColumnName: 'id', foreignKeyConstraintName: 'messages_conversation_id_fkey' },
  ])
  conversation!: Relation<ConversationEntity>;

  /** The message that this one follows. */
  @Column('text', { name: 'parent_id', nullable: true })
  parentId!: string | null;

  /** 1, 2, 3 … in its conversation. */
  @Column('bigint')
  position!: string;

  @Column('text')
  role!: string;

  @Column('text', { nullable: true })
  content!: string | null;

  @Column('text', { nullable: true })
  reasoning!: string | null;

  @Column('jsonb', { nullable: true })
  parts!: unknown;

  @Column('jsonb', { name: 'tool_calls', nullable: true })
  toolCalls!: unknown;

  @Column('text', { name: 'tool_call_id', nullable: true })
  toolCallId!: string | null;

  @Column('text', { nullable: true })
  name!: string | null;

  @Column('boolean', { default: true })
  complete!: boolean;

  @Column('boolean', { default: false })
  superseded!: boolean;

  @Column('text', { name: 'call_id', nullable: true })
  callId!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'weir.now()' })
  createdAt!: Date;
}
