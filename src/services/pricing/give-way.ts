import { isLockTaken } from '../../database/postgres-errors';
import { retry } from '../../lib/retry';

/**
 * Milliseconds. A settlement that takes long keeps a change from its lock, and the change keeps others from settling
 * meanwhile: it gives way, and tries again.
 */
const GIVE_WAY_MS = [200, 400, 600, 800];

/**
 * Repeats a transaction that `lockPrices` ended, with pauses in which calls are settled. Throws what it threw (55P03)
 * if settlements do not end.
 */
export const givingWay = <T>(transaction: () => Promise<T>): Promise<T> =>
  retry(transaction, { waitsMs: GIVE_WAY_MS, when: isLockTaken });
