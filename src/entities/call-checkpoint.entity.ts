import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What a stream had produced since its last checkpoint. */
@Entity('call_checkpoints')
export class CallCheckpoint {
  @PrimaryColumn('text', { name: 'call_id', primaryKeyConstraintName: 'call_checkpoints_pkey' })
  callId!: string;

  @PrimaryColumn('integer', { primaryKeyConstraintName: 'call_checkpoints_pkey' })
  number!: number;

  @Column('text')
  content!: string;

  @Column('text')
  reasoning!: string;

  /** Names and arguments of tool calls, as text. */
  @Column('text')
  tools!: string;

  /** Of the whole stream until here, estimated. */
  @Column('integer', { name: 'completion_tokens' })
  completionTokens!: number;

  @Column('text', { name: 'served_model', nullable: true })
  servedModel!: string | null;

  @Column('text', { nullable: true })
  deployment!: string | null;

  @Column('timestamptz', { default: () => 'weir.now()' })
  at!: Date;
}
