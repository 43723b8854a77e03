import { AppError } from '../../errors';
import { ConcurrencyLimiter, type ConcurrencyOptions } from '../../lib/concurrency';

/** Milliseconds after which a report that was refused may find room. */
const RETRY_AFTER_MS = 2_000;

const tooMany = (): AppError =>
  new AppError('RATE_LIMITED', {
    public: 'Too many reports are being made: ask for fewer at a time.',
    retryAfterMs: RETRY_AFTER_MS,
  });

/**
 * Keeps reports, which read many rows, from taking what everything else needs: a few at a time, each with one of the
 * pool's connections, fair between users. Who finds the queue full, or waits for too long, gets RATE_LIMITED.
 */
export const reportLimiter = (options: Partial<ConcurrencyOptions> = {}): ConcurrencyLimiter =>
  new ConcurrencyLimiter({
    max: 3,
    maxWaiting: 200,
    maxWaitingOfKey: 20,
    waitMs: 10_000,
    refused: tooMany,
    ...options,
  });
