import { createHash, randomBytes } from 'node:crypto';

const TOKEN_FORM = /^weir_[A-Za-z0-9_-]{43}$/;

/** A new API token: 256 random bits. */
export const newTokenSecret = (): string => `weir_${randomBytes(32).toString('base64url')}`;

export const isTokenForm = (text: string): boolean => TOKEN_FORM.test(text);

/** What is stored of a token, and what it is found by: the time that a lookup takes says nothing about the token. */
export const hashOfSecret = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Remembers that a subject of an organisation was erased, without keeping the subject. */
export const erasedSubject = (organizationId: string, externalId: string): Buffer =>
  createHash('sha256').update(`${organizationId}\n${externalId}`).digest();

/** The credential of an `Authorization` header, or of the same value in `connection_init`; null: there is none. */
export function bearerOf(authorization: string | null | undefined): string | null {
  const match = /^Bearer +([\x21-\x7e]{1,16384})$/i.exec((authorization ?? '').trim());
  return match ? match[1]! : null;
}
