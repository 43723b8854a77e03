import { AppError } from '../../errors';
import { canonicalDecimal } from '../../lib/decimal';
import type { Budget } from '../../domain/budget';
import type { Admission, HeldOn, NewCall } from '../../domain/call';

/** Of one call; which fields there are depends on its fate. */
interface FateDetail {
  occurredAt: string;
  budgetIds: string[];
  budgetDates: string[];
  budget: BudgetJson;
  room: string;
  onlyHeld: boolean;
  callId: string;
  stored: unknown;
  firstUsedAt: string;
}
/** A budget as the function writes it: numbers with their trailing zeros, times as text. */
type BudgetJson = Omit<Budget, 'periodStart' | 'resetsAt'> & { periodStart: string; resetsAt: string };
/** What `weir.admit` says of a group of calls. */
export interface AdmissionSql {
  occurredAt: string;
  /** The period rows that anything of the group is held on, side by side; null: none. */
  budgets: string[] | null;
  dates: string[] | null;
  fates: string[];
  /** By call: which of them, counted from 1, as a Postgres array; null: none. */
  places: (string | null)[];
  details: (FateDetail | null)[];
  /** Milliseconds for period rows that others held; null: no budget applied. */
  waitedMs: number | null;
}
/** In the order of the calls; null: ask once more. Throws SERVICE_UNAVAILABLE for a call that others have ended. */
export function readAdmissions(answer: AdmissionSql, calls: readonly NewCall[]): (Admission | null)[] {
  const periods = periodsOf(answer);
  return calls.map((call, i) => readAdmission(answer, i, call, periods));
}

function readAdmission(
  answer: AdmissionSql,
  at: number,
  call: NewCall,
  periods: (places: string | null | undefined) => readonly HeldOn[],
): Admission | null {
  const fate = answer.fates[at]!;
  const detail = answer.details[at];
  switch (fate) {
    case 'ADMITTED': {
      // A call that was asked for again has the time and the budgets of its first try.
      if (detail)
        return {
          kind: 'ADMITTED',
          id: call.id,
          occurredAt: detail.occurredAt,
          heldOn: heldOn(detail.budgetIds, detail.budgetDates),
        };
      return { kind: 'ADMITTED', id: call.id, occurredAt: answer.occurredAt, heldOn: periods(answer.places[at]) };
    }
    case 'BUDGET_EXCEEDED':
      return {
        kind: 'BUDGET_EXCEEDED',
        budget: readBudget(detail!.budget),
        room: canonicalDecimal(detail!.room),
        onlyHeld: detail!.onlyHeld,
      };
    case 'REPLAY':
      return { kind: 'REPLAY', callId: detail!.callId, stored: detail!.stored };
    case 'RUNNING':
      return { kind: 'RUNNING', callId: detail!.callId };
    case 'CONFLICT':
      return { kind: 'CONFLICT', firstUsedAt: new Date(detail!.firstUsedAt) };
    case 'UNPRICED':
    case 'NO_CONVERSATION':
      return { kind: fate };
    case 'AGAIN':
      return null;
    default:
      // ENDED: others took this process for dead while it waited for the answer of its first try.
      throw new AppError('SERVICE_UNAVAILABLE', {
        internal: `call ${call.id} was ended by others before it began: ${fate}`,
      });
  }
}

/**
 * The period rows at the places of an answer, one list for all calls that have the same: a busy server keeps it for as
 * long as they run.
 */
function periodsOf({ budgets, dates }: AdmissionSql): (places: string | null | undefined) => readonly HeldOn[] {
  const found = new Map<string, readonly HeldOn[]>();
  return (places) => {
    if (!places) return [];
    let periods = found.get(places);
    if (!periods) {
      periods = places
        .slice(1, -1)
        .split(',')
        .map((place) => ({ budgetId: budgets![Number(place) - 1]!, startsOn: dates![Number(place) - 1]! }));
      found.set(places, periods);
    }
    return periods;
  };
}

const heldOn = (budgetIds: string[], dates: string[]): HeldOn[] =>
  budgetIds.map((budgetId, i) => ({ budgetId, startsOn: dates[i]! }));

const readBudget = (row: BudgetJson): Budget => ({
  ...row,
  limit: canonicalDecimal(row.limit),
  softLimit: row.softLimit === null ? null : canonicalDecimal(row.softLimit),
  spent: canonicalDecimal(row.spent),
  held: canonicalDecimal(row.held),
  remaining: canonicalDecimal(row.remaining),
  overage: canonicalDecimal(row.overage),
  periodStart: new Date(row.periodStart),
  resetsAt: new Date(row.resetsAt),
});
