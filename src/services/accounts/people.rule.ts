import { badInput, forbidden, notFound } from '../../errors';
import type { Role, UserRow, Viewer } from '../../domain/principal';

/**
 * Who may do what to whom. OPERATOR runs the installation, in any organisation; ADMIN runs one organisation and its
 * people, save operators;
 * ANALYST reads one organisation; MEMBER is concerned with itself.
 */
export function requireAdmin(viewer: Viewer): void {
  if (viewer.role !== 'ADMIN' && viewer.role !== 'OPERATOR') throw forbidden('ADMIN');
}

export function requireOperator(viewer: Viewer): void {
  if (viewer.role !== 'OPERATOR') throw forbidden('OPERATOR');
}

/** Is an organisation, or what belongs to it, the viewer's to know of? */
export const seesOrganization = (viewer: Viewer, organizationId: string): boolean =>
  viewer.role === 'OPERATOR' || viewer.organizationId === organizationId;

export const seesUser = (viewer: Viewer, user: Pick<UserRow, 'id' | 'organizationId'>): boolean =>
  viewer.userId === user.id || (viewer.role !== 'MEMBER' && seesOrganization(viewer, user.organizationId));

/** Tokens are for their user and those who may take them away. */
export const seesTokensOf = (viewer: Viewer, user: Pick<UserRow, 'id' | 'organizationId'>): boolean =>
  viewer.userId === user.id ||
  (viewer.role === 'ADMIN' && viewer.organizationId === user.organizationId) ||
  viewer.role === 'OPERATOR';

/**
 * The user, if the viewer may change it. Throws NOT_FOUND for a missing or foreign user alike, FORBIDDEN for an
 * operator before an administrator.
 */
export function editable(viewer: Viewer, user: UserRow | null, argument: string): UserRow {
  requireAdmin(viewer);
  if (!user || !seesOrganization(viewer, user.organizationId)) throw notFound(argument);
  if (user.role === 'OPERATOR') requireOperator(viewer);
  return user;
}

/** Nobody gives a role above the own one. */
export function requireGrantable(viewer: Viewer, role: Role): void {
  if (role === 'OPERATOR') requireOperator(viewer);
}

/** Whoever locked himself out would need another administrator to come back in. */
export function requireSomebodyElse(viewer: Viewer, userId: string, argument: string, what: string): void {
  if (viewer.userId === userId) throw badInput(argument, `you cannot ${what} yourself`);
}

const CONTROL = /[\u0000-\u001f\u007f]/;
const MAX_NAME = 200;

export function readName(value: string, argument: string): string {
  const name = value.trim();
  if (!name || name.length > MAX_NAME || CONTROL.test(name))
    throw badInput(argument, `1 to ${MAX_NAME} characters, none of them control characters`);
  return name;
}

export function readEmail(value: string | null | undefined, argument: string): string | null {
  if (value === null || value === undefined) return null;
  const email = value.trim();
  if (email.length > 320 || CONTROL.test(email) || !/^[^\s@]+@[^\s@]+$/.test(email))
    throw badInput(argument, 'not an e-mail address');
  return email;
}

export function readExternalId(value: string | null | undefined, argument: string): string | null {
  if (value === null || value === undefined) return null;
  if (!value || value.length > 255 || CONTROL.test(value))
    throw badInput(argument, '1 to 255 characters, none of them control characters');
  return value;
}

/** Text to search for; null: everything. */
export function readSearch(value: string | null | undefined, argument: string): string | null {
  const search = value?.trim() ?? '';
  if (search.length > MAX_NAME || CONTROL.test(search))
    throw badInput(argument, `at most ${MAX_NAME} characters, none of them control characters`);
  return search || null;
}

/** Postgres takes no NUL in a text: such an id names nothing. */
export const isPossibleId = (id: string): boolean => id.length > 0 && id.length <= 100 && !id.includes('\0');
