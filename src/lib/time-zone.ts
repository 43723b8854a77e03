/** Longer than any name. */
const MAX_NAME = 64;

/**
 * Whether a text may be the IANA name of a time zone. Only names that Intl and Postgres read alike: Postgres takes
 * `+02:00` with the sign turned round, and `IST` for Israel. Whether Postgres knows the name, only Postgres can say.
 */
export function isZoneName(name: string): boolean {
  if (name.length > MAX_NAME || !/^(?:UTC|GMT|[A-Za-z_]+\/[A-Za-z0-9_+\-/]+)$/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
