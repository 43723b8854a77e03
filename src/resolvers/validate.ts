import { badInput } from '../errors';
import { Decimal } from '../lib/decimal';
import { isZoneName } from '../lib/time-zone';

const MAX_NAME = 200;

/** Throws BAD_USER_INPUT: a report has 1 to 1000 groups. */
export function checkLimit(limit: number): void {
  if (limit < 1 || limit > 1000) throw badInput('limit', 'must be between 1 and 1000');
}

/** Throws BAD_USER_INPUT for a name that is empty, only space, or longer than 200 characters. */
export function checkName(argument: string, name: string): void {
  if (name.trim() === '') throw badInput(argument, 'must not be empty');
  if (name.length > MAX_NAME) throw badInput(argument, `must have at most ${MAX_NAME} characters`);
}

export function checkOptionalName(argument: string, name: string | null | undefined): void {
  if (name !== null && name !== undefined) checkName(argument, name);
}

/**
 * Throws BAD_USER_INPUT for a time zone that is not an IANA name. Offsets are refused: Postgres reads "+02:00" with the
 * opposite sign.
 */
export function checkTimeZone(argument: string, zone: string): void {
  if (!isZoneName(zone)) throw badInput(argument, 'must be an IANA time zone, as in "Europe/Berlin"');
}

/** Throws BAD_USER_INPUT where both ends are given and the range is empty. */
export function checkRange(argument: string, range: { from?: Date | null; to?: Date | null }): void {
  if (range.from && range.to && range.from >= range.to) throw badInput(`${argument}.from`, 'must be before `to`');
}

/** Throws BAD_USER_INPUT for a limit that would allow nothing. */
export function checkAtLeastOne(argument: string, value: number | null | undefined): void {
  if (value !== null && value !== undefined && value < 1) throw badInput(argument, 'must be at least 1');
}

export function checkNotNegative(argument: string, amount: string | null | undefined): void {
  if (amount !== null && amount !== undefined && Decimal.parse(amount).isNegative)
    throw badInput(argument, 'must not be negative');
}
