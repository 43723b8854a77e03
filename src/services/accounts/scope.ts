import type { Tx } from '../../database/pool';
import type { Viewer } from '../../domain/principal';

/** The organisation in which something is looked for; null: all of them, for operators. */
export type Scope = string | null;

export const scopeOf = (viewer: Pick<Viewer, 'role' | 'organizationId'>): Scope =>
  viewer.role === 'OPERATOR' ? null : viewer.organizationId;

/** The condition on the organisation of a list, with the scope at `place`. */
export const inScope = (scope: Scope, place: string): string =>
  scope === null ? `${place}::text IS NULL` : `organization_id = ${place}`;

const OWNERS = {
  users: 'SELECT DISTINCT organization_id FROM users WHERE id = ANY($1)',
  projects: 'SELECT DISTINCT organization_id FROM projects WHERE id = ANY($1)',
  api_tokens: 'SELECT DISTINCT organization_id FROM api_tokens WHERE id = ANY($1)',
};

/**
 * The organisations in which these ids are looked for. An operator may name any object, and its id does not say whose
 * it is: that is asked first, so that all other statements can name the organisation.
 */
export async function organizationsOf(
  tx: Tx,
  table: keyof typeof OWNERS,
  scope: Scope,
  ids: readonly string[],
): Promise<string[]> {
  if (scope !== null) return [scope];
  const rows = await tx.query<{ organization_id: string }>(OWNERS[table], [ids]);
  return rows.map((row) => row.organization_id);
}
