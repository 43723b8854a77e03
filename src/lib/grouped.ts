interface Waiting<T, R> {
  item: T;
  resolve(result: R): void;
  reject(error: unknown): void;
}

/**
 * Group commit: whatever queued while the last group was being written goes into the next. No timer, and every caller
 * waits for its own durable commit: alone it costs nothing extra, and under load one round trip serves many. Another
 * lane begins when a whole group has queued behind those that are under way, and ends when none has: two small groups
 * cost more than one of both, and take the processors from each other. A group that fails is tried again item by item,
 * so that one that cannot be written keeps no other from it, unless the failure is one of all (`isForAll`).
 */
export class Grouped<T, R> {
  private readonly queue: Waiting<T, R>[] = [];
  private readonly maxItems: number;
  private readonly lanes: number;
  private working = 0;

  /** `work` answers in the order of its items, and must be harmless to repeat. */
  constructor(
    private readonly work: (items: T[]) => Promise<R[]>,
    /** `maxItems` bounds the statement's size; `lanes`: groups at a time, 1 unless it is given. */
    private readonly options: { maxItems?: number; lanes?: number; isForAll?: (error: unknown) => boolean } = {},
  ) {
    this.maxItems = options.maxItems ?? 256;
    this.lanes = options.lanes ?? 1;
  }

  /** Items that wait for a group. */
  get waiting(): number {
    return this.queue.length;
  }

  add(item: T): Promise<R> {
    return new Promise((resolve, reject) => {
      this.queue.push({ item, resolve, reject });
      if (this.working < this.lanes && this.hasGroup(this.working)) void this.drain();
    });
  }

  /** Whether a lane should take what has queued, beside so many others. */
  private hasGroup(others: number): boolean {
    return this.queue.length >= (others === 0 ? 1 : this.maxItems);
  }

  private async drain(): Promise<void> {
    this.working += 1;
    while (this.hasGroup(this.working - 1)) await this.write(this.queue.splice(0, this.maxItems));
    this.working -= 1;
  }

  private async write(group: Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.work(group.map(({ item }) => item));
      group.forEach(({ resolve }, i) => resolve(results[i]!));
    } catch (error) {
      if (group.length === 1 || this.options.isForAll?.(error)) for (const { reject } of group) reject(error);
      else await Promise.all(group.map((one) => this.write([one])));
    }
  }
}
