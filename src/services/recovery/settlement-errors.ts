export type Failure = 'REFUSED' | 'SUSPECT' | 'AWAY';

/** Data exceptions, violated constraints, limits of Postgres, an error that our own functions raise. */
const REFUSED = /^(22|23|54|P0)...$/;
/** Connections, read-only and failed transactions, deadlocks, a schema that is not there yet, no resources, locks, an operator's doing, the disk. */
const AWAY = /^(08|25|40|42|53|55|57|58)...$/;

/**
 * What a failed settlement means. REFUSED: the next try would end the same way. SUSPECT: Postgres answered, or our own code stumbled over the
 * values; that may pass, but not five times. AWAY: everything else, as a connection that was lost; the values have nothing to do with it.
 */
export function failureOf(error: unknown): Failure {
  // A text that is too long for JavaScript.
  if (error instanceof RangeError) return 'REFUSED';
  if (error instanceof TypeError) return 'SUSPECT';
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  if (REFUSED.test(code)) return 'REFUSED';
  return /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code) && !AWAY.test(code) ? 'SUSPECT' : 'AWAY';
}
