import { Column, Entity, PrimaryColumn } from 'typeorm';

/** What a stream had produced since its last checkpoint. */
@Entity('call_checkpoints')
export class CallCheckpoint {
  @PrimaryColumn('text', { name: 'organization_id', primaryKeyConstraintName: 'call_checkpoints_pkey' })
  organizationId!: string;

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

  /** The numbers of the stream's pieces that are complete with this row; null: of a version that kept none. */
  @Column('integer', { name: 'first_seq', nullable: true })
  firstSeq!: number | null;

  @Column('integer', { name: 'last_seq', nullable: true })
  lastSeq!: number | null;

  /** What each of them was, as services/streams/kept-pieces.ts writes it. */
  @Column('json', { nullable: true })
  pieces!: unknown;

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
