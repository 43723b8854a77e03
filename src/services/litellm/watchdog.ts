/** Fires once when nothing came for as long as was expected. Feeding it costs no timer: one timer sleeps and looks again. */
export class Watchdog {
  private timer: NodeJS.Timeout | null = null;
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
    this.timer = null;
  }

  private readonly look = (): void => {
    const waited = performance.now() - this.since;
    if (waited >= this.limitMs - 1) {
      this.timer = null;
      this.onSilence(Math.round(waited));
    } else {
      this.timer = setTimeout(this.look, this.limitMs - waited);
    }
  };
}
