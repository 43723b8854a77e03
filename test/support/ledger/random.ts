/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  constructor(private state: number) {}

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number, both ends included. */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  /** Up to so many of the items, in an order of its own. */
  some<T>(items: readonly T[], most: number): T[] {
    const left = [...items];
    const taken: T[] = [];
    while (left.length > 0 && taken.length < most) taken.push(left.splice(this.int(0, left.length - 1), 1)[0]!);
    return taken;
  }

  /** A decimal text of up to so many whole digits, and up to fourteen behind the point. */
  amount(wholeDigits: number): string {
    const digits = (count: number): string => Array.from({ length: count }, () => this.int(0, 9)).join('');
    return `${BigInt(digits(this.int(1, wholeDigits)))}.${digits(this.int(0, 14))}1`;
  }
}
