/**
 * What errors of Postgres and of the connections to it mean. The one place where SQLSTATE codes are read
 * (https://www.postgresql.org/docs/current/errcodes-appendix.html).
 */
export const SQLSTATE = { lockNotAvailable: '55P03', statementTimeout: '57014', pricesChanged: 'WP001' } as const;

/** The code of Postgres, of the driver or of the system; empty: it has none. */
export const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? '');

/**
 * The constraint that Postgres names in an error, from the driver or from TypeORM, which copies the driver's fields;
 * null for other errors.
 */
export const violatedConstraint = (error: unknown): string | null =>
  (error as { constraint?: string } | null)?.constraint ?? null;

/** Somebody else held the lock for longer than the statement waits for it. */
export const isLockTaken = (error: unknown): boolean => codeOf(error) === SQLSTATE.lockNotAvailable;

/** A statement was refused for its values: numbers out of range, text that cannot be stored. */
export const isDataError = (error: unknown): boolean => /^22...$/.test(codeOf(error));

/** Five characters, and none of the system's codes that are as long. */
const isSqlState = (code: string): boolean => /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code);

/**
 * The database cannot be reached, or has no room: not the fault of one statement. No SQLSTATE: the connection itself
 * failed. 57: Postgres goes down or comes up, or gave the statement up; 08: connection; 53: no connection or memory
 * left.
 */
export const isDatabaseAway = (error: unknown): boolean => {
  const code = codeOf(error);
  return !isSqlState(code) || /^(57|08|53)/.test(code);
};

/**
 * The same statement may succeed in a moment: the connection was lost, Postgres restarts (57P0x), the transaction was
 * rolled back for the sake of another one (40), or somebody held a lock.
 */
export const mayPass = (error: unknown): boolean => {
  const code = codeOf(error);
  return !isSqlState(code) || /^(57P0|40|08)/.test(code) || code === SQLSTATE.lockNotAvailable;
};

/** Nobody can connect with these credentials, or to this database: waiting does not help. */
export const willNotPass = (error: unknown): boolean => ['28P01', '28000', '3D000'].includes(codeOf(error));

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
/**
 * As `isDatabaseAway`, with a read-only standby (25006), deadlocks and serialisation, but without a statement that was
 * cancelled by somebody.
 */
const UNAVAILABLE = /^(57P0[123]|57014|53\d{3}|08[0-9A-Z]{3}|25006|40001|40P01|55P03)$/;
/** What `pg` says without a code. */
const UNAVAILABLE_TEXTS =
  /^(timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection error|Client was closed|Query read timeout|Cannot use a pool after calling end)/;

/**
 * For a client: the request could not be carried out now, and can be repeated. Also for other servers that cannot be
 * reached.
 */
export const isUnavailable = (error: Error): boolean =>
  NETWORK_CODES.has(codeOf(error)) || UNAVAILABLE.test(codeOf(error)) || UNAVAILABLE_TEXTS.test(error.message);

export type WriteFailure = 'REFUSED' | 'SUSPECT' | 'AWAY';

/** Data exceptions, violated constraints, limits of Postgres, an error that our own functions raise. */
const REFUSED = /^(22|23|54|P0)...$/;
/**
 * Connections, read-only and failed transactions, deadlocks, a schema that is not there yet, no resources, locks, an
 * operator's doing, the disk.
 */
const AWAY = /^(08|25|40|42|53|55|57|58)...$/;

/**
 * What a failed write means. REFUSED: the next try would end the same way. SUSPECT: Postgres answered, or our own code
 * stumbled over the values; that may pass, but not five times. AWAY: everything else, as a connection that was lost;
 * the values have nothing to do with it.
 */
export function writeFailureOf(error: unknown): WriteFailure {
  // A text that is too long for JavaScript.
  if (error instanceof RangeError) return 'REFUSED';
  if (error instanceof TypeError) return 'SUSPECT';
  const code = codeOf(error);
  if (REFUSED.test(code)) return 'REFUSED';
  return isSqlState(code) && !AWAY.test(code) ? 'SUSPECT' : 'AWAY';
}
