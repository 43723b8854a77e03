/**
 * Work that runs once at a time. Who asks for it while it runs has it run once more behind that: it may not have seen
 * what it was asked for.
 */
export class Coalesced {
  private asked = false;
  private stopped = false;
  private running: Promise<void> | null = null;

  constructor(
    /** Gives true where there is more to do at once. */
    private readonly work: () => Promise<boolean | void>,
    private readonly onError: (error: unknown) => void,
  ) {}

  /** Resolves when nothing more is asked for. Never rejects. */
  run(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    this.asked = true;
    this.running ??= this.runWhileAsked();
    return this.running;
  }

  /** Begins no more. Resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private async runWhileAsked(): Promise<void> {
    while (this.asked && !this.stopped) {
      this.asked = false;
      try {
        if (await this.work()) this.asked = true;
      } catch (error) {
        this.onError(error);
      }
    }
    // In one turn with the last look at what is asked: nobody can ask in between, and not be heard.
    this.running = null;
  }
}
