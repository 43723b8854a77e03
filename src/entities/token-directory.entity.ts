import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** The organisation of each API token, by the token's hash: a request brings no organisation. */
@Entity('token_directory')
@Index('token_directory_token_id_idx', ['organizationId', 'tokenId'])
export class TokenDirectory {
  /** SHA-256 of the secret. */
  @PrimaryColumn('bytea', { primaryKeyConstraintName: 'token_directory_pkey' })
  hash!: Buffer;

  @Column('text', { name: 'organization_id' })
  organizationId!: string;

  @Column('text', { name: 'token_id' })
  tokenId!: string;
}
