import { badInput, forbidden } from '../../errors';
import type { Viewer } from '../../domain/principal';
import type { UsageDimension, UsageFilter } from './usage.types';

/**
 * A filter that has been cut to what the viewer may see. null in a list: no restriction; an empty list matches nothing.
 */
export interface ScopedFilter extends Omit<UsageFilter, 'organizationIds' | 'userIds'> {
  organizationIds: string[] | null;
  userIds: string[] | null;
}

/**
 * Members see themselves, analysts and administrators their organisation, operators all. A filter only narrows: naming
 * somebody whom the viewer may not see answers like naming nobody. Throws FORBIDDEN where the filter or a dimension
 * names organisations and the viewer is no operator, BAD_USER_INPUT for texts that no row can have.
 */
export function scopeFilter(
  viewer: Viewer,
  filter: UsageFilter,
  groupBy: readonly UsageDimension[] = [],
): ScopedFilter {
  for (const [name, value] of Object.entries(filter)) {
    const texts: unknown[] = Array.isArray(value) ? value : [value];
    if (texts.some((text) => typeof text === 'string' && text.includes('\0')))
      throw badInput(`filter.${name}`, 'must not contain a NUL character');
    if (value instanceof Date && Number.isNaN(value.getTime())) throw badInput(`filter.${name}`, 'must be a time');
  }
  if (viewer.role === 'OPERATOR')
    return { ...filter, organizationIds: filter.organizationIds ?? null, userIds: filter.userIds ?? null };
  if (filter.organizationIds || groupBy.includes('ORGANIZATION')) throw forbidden('OPERATOR');
  const userIds =
    viewer.role === 'MEMBER'
      ? [viewer.userId].filter((id) => filter.userIds?.includes(id) ?? true)
      : (filter.userIds ?? null);
  return { ...filter, organizationIds: [viewer.organizationId], userIds };
}
