import type { Decimal } from '../../lib/decimal';
import type { Step } from './reconciler';
import type { DifferenceKind } from './reconciliation.types';

const NO_DIFFERENCES: Record<DifferenceKind, number> = {
  MISSING_HERE: 0,
  MISSING_AT_PROXY: 0,
  TOKENS_DIFFER: 0,
  COST_DIFFERS: 0,
};

/**
 * The steps of a walk, added up. Dollars are null while nothing has a cost. Differences that were replaced before are
 * not counted again.
 */
export class Sums {
  comparedCalls = 0;
  corrected = 0;
  notCorrected = 0;
  readonly byKind = { ...NO_DIFFERENCES };
  private ours: Decimal | null = null;
  private theirs: Decimal | null = null;

  add(step: Step): void {
    this.comparedCalls += step.comparedCalls;
    this.corrected += step.corrected;
    this.notCorrected += step.notCorrected;
    for (const { kind, isReplaced } of step.differences) if (!isReplaced) this.byKind[kind] += 1;
    if (step.ourCost) this.ours = this.ours?.plus(step.ourCost) ?? step.ourCost;
    if (step.proxyCost) this.theirs = this.theirs?.plus(step.proxyCost) ?? step.proxyCost;
  }

  get ourCost(): string | null {
    return this.ours?.toString() ?? null;
  }

  get proxyCost(): string | null {
    return this.theirs?.toString() ?? null;
  }
}
