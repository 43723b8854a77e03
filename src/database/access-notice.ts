import { createHash } from 'node:crypto';
import type { Tx } from './pool';

/** NOTIFY: the access of a user has changed. */
export const ACCESS_CHANNEL = 'weir_access';

/** What a notice says instead of the user's id: everybody who may connect to the database can listen. */
export const accessNotice = (userId: string): string =>
  createHash('sha256').update(userId).digest('base64url').slice(0, 16);

/** Tells every process, with the commit of the transaction, that the user or one of its tokens has changed. */
export async function announceAccess(tx: Tx, userId: string): Promise<void> {
  await tx.query('SELECT pg_notify($1, $2)', [ACCESS_CHANNEL, accessNotice(userId)]);
}
