/** Where a door may find a credential. */
export interface CredentialSource {
  /** Of the HTTP request. */
  headers?: Record<string, unknown>;
  /**
   * Of `connection_init`: `{ authorization }` or `{ Authorization }`, `{ headers: { Authorization } }` as some
   * explorers have it, or `{ token }` without the word Bearer.
   */
  params?: Record<string, unknown>;
}

/**
 * The one reader of credentials. Gives the value of the Authorization header, or what stands for it; null: there is
 * none.
 */
export function readCredential({ headers, params }: CredentialSource): string | null {
  const found = authorizationIn(headers) ?? authorizationIn(params) ?? authorizationIn(params?.headers);
  if (found !== null) return found;
  return typeof params?.token === 'string' ? `Bearer ${params.token}` : null;
}

function authorizationIn(values: unknown): string | null {
  const { authorization, Authorization } = (values ?? {}) as Record<string, unknown>;
  const value = authorization ?? Authorization;
  return typeof value === 'string' ? value : null;
}
