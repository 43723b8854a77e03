import { Decimal } from '../../lib/decimal';
import type { OrganizationImpact, PriceImpact } from './pricing.types';

/** What a price change does to some rows of calls of one organisation. Costs in dollars, decimal strings. */
export interface ImpactRow {
  organizationId: string;
  /** By the signs of their rows. */
  calls: number;
  /** Those of them that had a price. */
  pricedBefore: number;
  before: string;
  after: string;
}

interface Sum {
  calls: number;
  pricedBefore: number;
  before: Decimal;
  after: Decimal;
}
const NOTHING: Sum = { calls: 0, pricedBefore: 0, before: Decimal.ZERO, after: Decimal.ZERO };

/** The impacts on different rows, together: by organisation, the largest differences first, and in all. */
export function totalImpact(rows: readonly ImpactRow[]): PriceImpact & { byOrganization: OrganizationImpact[] } {
  const byId = new Map<string, Sum>();
  let all = NOTHING;
  for (const row of rows) {
    byId.set(row.organizationId, plus(byId.get(row.organizationId) ?? NOTHING, row));
    all = plus(all, row);
  }
  const byOrganization = [...byId]
    // The rows of a corrected call may have come in two parts that take each other back.
    .filter(([, sum]) => sum.calls !== 0 || sum.before.compare(sum.after) !== 0)
    .sort(([a, one], [b, other]) => difference(other).compare(difference(one)) || (a < b ? -1 : 1))
    .map(([organizationId, sum]) => ({ organizationId, ...impactOf(sum) }));
  return { ...impactOf(all), byOrganization };
}

const plus = (sum: Sum, row: ImpactRow): Sum => ({
  calls: sum.calls + row.calls,
  pricedBefore: sum.pricedBefore + row.pricedBefore,
  before: sum.before.plus(Decimal.parse(row.before)),
  after: sum.after.plus(Decimal.parse(row.after)),
});

/** Of no calls the costs are zero. */
const impactOf = ({ calls, pricedBefore, before, after }: Sum): PriceImpact => ({
  affectedCalls: calls,
  costBefore: calls > 0 && pricedBefore === 0 ? null : before.toString(),
  costAfter: after.toString(),
});

function difference({ before, after }: Sum): Decimal {
  const changed = after.minus(before);
  return changed.isNegative ? Decimal.ZERO.minus(changed) : changed;
}
