/**
 * Fires once when nothing came for as long as was expected. Feeding it costs no timer: one timer sleeps and looks
 * again.
 */
export class Watchdog {
  private timer: NodeJS.Timeout | null = null;
  private last: NodeJS.Immediate | null = null;
  private since = 0;
  private limitMs = 0;

  constructor(private readonly onSilence: (waitedMs: number) => void) {}

  /** Something must come within this time, counted from now. */
  expectWithin(limitMs: number): void {
    this.since = performance.now();
    // A sleeping timer that ends later than the new limit would notice too late.
    if (this.timer && limitMs < this.limitMs) this.stop();
    this.limitMs = limitMs;
    this.timer ??= setTimeout(this.look, limitMs);
  }

  stop(): void {
    if (this.timer) clearTimeout(this.timer);
    if (this.last) clearImmediate(this.last);
    this.timer = null;
    this.last = null;
  }

  private readonly look = (): void => {
    const waited = performance.now() - this.since;
    if (waited >= this.limitMs - 1) {
      this.timer = null;
      // A loop that was held up has timers first and sockets after them: what came meanwhile is read before anybody is
      // called silent.
      this.last = setImmediate(this.conclude, this.since);
    } else {
      this.timer = setTimeout(this.look, this.limitMs - waited);
    }
  };

  private readonly conclude = (since: number): void => {
    this.last = null;
    if (this.since === since) this.onSilence(Math.round(performance.now() - since));
    else this.timer ??= setTimeout(this.look, this.limitMs);
  };
}
