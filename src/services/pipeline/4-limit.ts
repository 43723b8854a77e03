import { AppError } from '../../errors';

export interface LimitDeps {
  running: { assertAccepting(): void };
  /** How many calls have ended and are written down nowhere yet. */
  writer: { readonly inMemory: number };
}

/**
 * Refuses new paid work that this process cannot carry to its end, before anything is claimed or spent. Throws
 * SERVICE_UNAVAILABLE while it shuts down, and while neither the database nor the disk takes settlements: a call that
 * would begin then could only be lost.
 */
export function limit({ running, writer }: LimitDeps): void {
  running.assertAccepting();
  if (writer.inMemory > 0) throw new AppError('SERVICE_UNAVAILABLE', { internal: 'settlements are in memory only' });
}
