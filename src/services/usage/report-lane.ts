import { AppError } from '../../errors';

interface Waiting { userId: string; go(): void }
export interface ReportLaneOptions {
  /** Reports that run at the same time: each has one of the pool's connections. Default 3. */
  max?: number;
  /** Reports that wait, of all users and of one. Defaults 200 and 20. */
  maxWaiting?: number;
  maxWaitingOfUser?: number;
  /** Milliseconds of waiting. Default 10 s. */
  waitMs?: number;
}

/** Milliseconds after which a report that was refused may find room. */
const RETRY_AFTER_MS = 2_000;

/** Keeps reports, which read many rows, from taking what everything else needs: a few at a time, fair between users, and the queue has an end. */
export class ReportLane {
  private readonly waiting: Waiting[] = [];
  private readonly running = new Map<string, number>();
  private count = 0;
  private readonly options: Required<ReportLaneOptions>;

  constructor(options: ReportLaneOptions = {}) {
    this.options = { max: 3, maxWaiting: 200, maxWaitingOfUser: 20, waitMs: 10_000, ...options };
  }

  /** Throws RATE_LIMITED where the queue is full, or was not through in time. */
  async run<T>(userId: string, work: () => Promise<T>): Promise<T> {
    if (this.count >= this.options.max) await this.turn(userId);
    else this.begin(userId);
    try {
      return await work();
    } finally {
      this.end(userId);
    }
  }

  private turn(userId: string): Promise<void> {
    const { maxWaiting, maxWaitingOfUser, waitMs } = this.options;
    if (this.waiting.length >= maxWaiting || this.waiting.filter((other) => other.userId === userId).length >= maxWaitingOfUser) throw tooMany();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(waiting), 1);
        reject(tooMany());
      }, waitMs);
      const waiting: Waiting = {
        userId,
        go: () => {
          clearTimeout(timer);
          this.begin(userId);
          resolve();
        },
      };
      this.waiting.push(waiting);
    });
  }

  private begin(userId: string): void {
    this.count += 1;
    this.running.set(userId, (this.running.get(userId) ?? 0) + 1);
  }

  private end(userId: string): void {
    this.count -= 1;
    const left = this.running.get(userId)! - 1;
    if (left > 0) this.running.set(userId, left);
    else this.running.delete(userId);
    // Whoever has fewest running is next, and among those who came first.
    const next = this.waiting.reduce<Waiting | null>((best, one) => (best === null || this.runningOf(one) < this.runningOf(best) ? one : best), null);
    if (!next) return;
    this.waiting.splice(this.waiting.indexOf(next), 1);
    next.go();
  }

  private runningOf({ userId }: Waiting): number {
    return this.running.get(userId) ?? 0;
  }
}

const tooMany = (): AppError => new AppError('RATE_LIMITED', { public: 'Too many reports are being made: ask for fewer at a time.', retryAfterMs: RETRY_AFTER_MS });
