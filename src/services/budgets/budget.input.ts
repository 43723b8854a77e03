import { badInput } from '../../errors';
import { Decimal } from '../../lib/decimal';
import { kindOfId, type IdKind } from '../../lib/ids';
import type { BudgetEdit, BudgetScope } from '../../domain/budget';
import { isZoneName } from '../../lib/time-zone';

const MAX_THRESHOLDS = 10;
/** Digits: what is summed up and compared stays far within `numeric`. */
const AMOUNT = /^\d{1,12}(\.\d{1,12})?$/;

const KINDS: Record<BudgetScope, IdKind> = {
  ORGANIZATION: 'organization',
  PROJECT: 'project',
  USER: 'user',
  API_TOKEN: 'apiToken',
};

/**
 * What of an edit can be said without asking the database; amounts in their one written form. Throws BAD_USER_INPUT.
 */
export function readBudgetEdit(input: BudgetEdit): BudgetEdit {
  const kind = kindOfId(input.subjectId);
  if (kind !== null && kind !== KINDS[input.scope])
    throw badInput('subjectId', `is the id of something else than scope ${input.scope} is about`);
  const limit = readAmount(input.limit, 'limit');
  const softLimit = input.softLimit == null ? null : readAmount(input.softLimit, 'softLimit');
  if (softLimit !== null && Decimal.parse(softLimit).compare(Decimal.parse(limit)) > 0)
    throw badInput('softLimit', 'must not be above the limit');
  if (!isZoneName(input.timeZone)) throw badInput('timeZone', ZONE_PROBLEM);
  checkThresholds(input.alertAtPercent);
  return { ...input, limit, softLimit };
}

export const ZONE_PROBLEM = 'must be the IANA name of a time zone, as in "Europe/Berlin", or "UTC"';

function readAmount(text: string, argument: string): string {
  let amount: Decimal;
  try {
    amount = Decimal.parse(text);
  } catch {
    throw badInput(argument, 'not a decimal number');
  }
  if (amount.isNegative) throw badInput(argument, 'must not be negative');
  const plain = amount.toString();
  if (!AMOUNT.test(plain)) throw badInput(argument, 'has at most 12 digits before and 12 after the point');
  return plain;
}

function checkThresholds(percents: readonly number[]): void {
  if (percents.length > MAX_THRESHOLDS) throw badInput('alertAtPercent', `at most ${MAX_THRESHOLDS} thresholds`);
  percents.forEach((percent, index) => {
    if (!Number.isInteger(percent) || percent < 1 || percent > 100)
      throw badInput(`alertAtPercent[${index}]`, 'a whole number from 1 to 100');
    if (percents.indexOf(percent) !== index) throw badInput(`alertAtPercent[${index}]`, 'is there twice');
  });
}
