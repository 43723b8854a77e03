import type { Logger } from './logger';

/** What somebody with rights over others did, as the log keeps it. */
export interface AdministrativeAct {
  /** Id of the user who did it. */
  actor: string;
  /** What was done to what kind of thing, as `token.revoke`. */
  action: `${'organization' | 'project' | 'user' | 'token' | 'plan' | 'price' | 'budget'}.${string}`;
  /** Id of the thing, and of the organisation that it belongs to; null: to all. */
  target: { id: string; organizationId: string | null };
  /**
   * What was so before and after, where it changed; null: the thing was not there. Ids, settings and money; no secrets,
   * and nothing that names a person.
   */
  before: object | null;
  after: object | null;
}

/**
 * One line per act, at level `info`, with a message of its own, so that a log can be searched for them. Written when
 * the act holds.
 */
export function logAct(logger: Logger | undefined, { before, after, ...act }: AdministrativeAct): void {
  logger?.info({ ...act, ...changes(before, after) }, 'administrative act');
}

function changes(before: object | null, after: object | null): Pick<AdministrativeAct, 'before' | 'after'> {
  if (!before || !after) return { before, after };
  const differs = (name: string): boolean =>
    JSON.stringify(before[name as never]) !== JSON.stringify(after[name as never]);
  const pick = (from: object): object => Object.fromEntries(Object.entries(from).filter(([name]) => differs(name)));
  return { before: pick(before), after: pick(after) };
}
