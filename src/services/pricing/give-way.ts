import { codeOf, LOCK_NOT_AVAILABLE } from './price.store';

/** A settlement that takes long keeps a change from its lock, and the change keeps others from settling meanwhile: it gives way, and tries again. */
const TRIES = 5;
const GIVE_WAY_MS = 200;

/** Repeats a transaction that `lockPrices` ended, with pauses in which calls are settled. Throws what it threw (55P03) if settlements do not end. */
export async function givingWay<T>(transaction: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await transaction();
    } catch (error) {
      if (codeOf(error) !== LOCK_NOT_AVAILABLE || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, GIVE_WAY_MS * tries));
    }
  }
}
