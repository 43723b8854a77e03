import { Column, Entity, Generated, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { ConversationEntity } from './conversation.entity';

@Entity('messages')
@Index('messages_conversation_id_position_idx', ['conversationId', 'position'])
export class MessageEntity {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'messages_pkey' })
  id!: string;

  @Column('text', { name: 'conversation_id' })
  conversationId!: string;

  @ManyToOne(() => ConversationEntity, { nullable: false, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'conversation_id', foreignKeyConstraintName: 'messages_conversation_id_fkey' })
  conversation!: Relation<ConversationEntity>;

  /** The message that this one follows. */
  @Column('text', { name: 'parent_id', nullable: true })
  parentId!: string | null;

  /** Order of writing. An identity column; the decorator's type has only this word for it. */
  @Column({ type: 'bigint', generatedIdentity: 'ALWAYS' })
  @Generated('increment')
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
