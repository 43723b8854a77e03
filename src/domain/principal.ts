export type Role = 'MEMBER' | 'ANALYST' | 'ADMIN' | 'OPERATOR';

/** The caller, as both doors hand it to every service. */
export interface Viewer {
  userId: string;
  organizationId: string;
  role: Role;
  planId: string;
  /** The API token that was used; null for a JWT. */
  tokenId: string | null;
  /**
   * The login at the identity provider that a JWT names (`sid`, else `jti`); null: it names none, or for an API token.
   */
  sessionId: string | null;
  /** When the credential ends, in milliseconds since 1970 (UTC); null: it does not. */
  expiresAtMs: number | null;
}

export interface OrganizationRow {
  id: string;
  name: string;
}
export interface ProjectRow {
  id: string;
  organizationId: string;
  name: string;
}
export interface UserRow {
  id: string;
  organizationId: string;
  name: string;
  email: string | null;
  externalId: string | null;
  role: Role;
  planId: string;
  blocked: boolean;
  createdAt: Date;
}
/** Whose something is, where the row of the user is not needed. */
export type UserRef = Pick<UserRow, 'id' | 'organizationId'>;
export interface ApiTokenRow {
  id: string;
  organizationId: string;
  userId: string;
  name: string;
  /** Last four characters of the secret. */
  hint: string;
  createdAt: Date;
  lastUsedAt: Date | null;
  expiresAt: Date | null;
  revokedAt: Date | null;
}
export interface VirtualKeyInfo {
  hint: string;
  createdAt: Date;
  rotatedAt: Date | null;
  blocked: boolean;
}

export interface NewUser {
  organizationId?: string | null;
  name: string;
  email?: string | null;
  externalId?: string | null;
  role: Role;
  planId: string;
}
export interface NewApiToken {
  userId?: string | null;
  name: string;
  expiresAt?: Date | null;
}
