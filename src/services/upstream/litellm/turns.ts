/**
 * What one stream may use of the event loop before others have their turn. Milliseconds: of 1,000 streams that share a
 * loop, each gets far less on the average.
 */
const TURN_MS = 2;
/**
 * Work that begins later than this after the last piece of it is another turn: something else ran between, or nothing
 * had to. Milliseconds.
 */
const PAUSE_MS = 0.5;

/**
 * Counts how long one stream has kept the event loop to itself. Costs two looks at the clock for each piece of work,
 * and no timer.
 */
export class Turns {
  private startedAt = 0;
  private workedUntil = -Infinity;
  private usedMs = 0;

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** false: the turn was over before; what came has to wait as well. */
  begin(): boolean {
    this.startedAt = this.now();
    if (this.startedAt - this.workedUntil > PAUSE_MS) this.usedMs = 0;
    return this.usedMs < TURN_MS;
  }

  /** Its turn is over: the rest has to wait for the next one. */
  get isOver(): boolean {
    return this.usedMs + this.now() - this.startedAt >= TURN_MS;
  }

  end(): void {
    this.workedUntil = this.now();
    this.usedMs += this.workedUntil - this.startedAt;
  }

  /** Others had theirs. */
  another(): void {
    this.usedMs = 0;
  }
}
