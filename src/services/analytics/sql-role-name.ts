import { kindOfId } from '../../lib/ids';

/** Of an identifier in Postgres, which cuts what is longer, and says so only in a notice. Bytes. */
const NAME_AT_MOST = 63;
const PREFIX = 'weir_sql_';
/** In the place of an organisation: no id of one. */
const ALL = 'all';

/**
 * The name of a role says what it reads; weir.reader() takes it apart in the same way. Ids have a fixed form, so that
 * no name can be read in two ways.
 * null: all organisations.
 */
export function sqlRoleName(organizationId: string | null, suffix: string): string {
  if (organizationId !== null && kindOfId(organizationId) !== 'organization') {
    throw new Error(`no role can be named for an organisation whose id is not of our form: ${organizationId}`);
  }
  return `${PREFIX}${organizationId ?? ALL}_${suffix}`;
}

/** Whether a role that somebody has made reads that, by its name. */
export function isSqlRoleName(name: string, organizationId: string | null): boolean {
  const start = sqlRoleName(organizationId, '');
  return (
    name.startsWith(start) && /^[0-9a-z]+$/.test(name.slice(start.length)) && Buffer.byteLength(name) <= NAME_AT_MOST
  );
}
