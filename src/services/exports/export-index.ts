import type { ExportKey } from './export.store';

/** The line after `key` begins at byte `offset` of the file. null: the first line behind the header. */
export interface ExportPoint {
  offset: number;
  key: ExportKey | null;
}

/** Places of one file. More than these are thinned out: a place is then twice as far from the next. */
const MAX_POINTS = 512;

/**
 * What this process has seen of a file while it wrote or measured it: where to begin in the middle, and how long it is.
 * The same for everybody, since a file never changes.
 */
export class ExportIndex {
  private readonly points: ExportPoint[];
  private stride = 0;
  /** The furthest place that was seen. */
  private reached: ExportPoint;
  /** Bytes; null: nobody has come to the end yet. */
  total: number | null = null;
  /** Whoever measures it now; others wait for the same. */
  measuring: Promise<void> | null = null;

  constructor(headerBytes: number) {
    this.reached = { offset: headerBytes, key: null };
    this.points = [this.reached];
  }

  get furthest(): ExportPoint {
    return this.reached;
  }

  passed(point: ExportPoint): void {
    if (point.offset <= this.reached.offset) return;
    this.reached = point;
    if (point.offset - this.points.at(-1)!.offset < this.stride) return;
    this.points.push(point);
    if (this.points.length <= MAX_POINTS) return;
    // The first one stays.
    for (let i = 1; i < this.points.length; i += 1) this.points.splice(i, 1);
    this.stride = Math.max(this.stride * 2, (this.points.at(-1)!.offset - this.points[0]!.offset) / this.points.length);
  }

  /** The last known place at or before a byte; the first one for a byte of the header. */
  before(offset: number): ExportPoint {
    let [low, high] = [0, this.points.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.points[middle]!.offset <= offset) low = middle;
      else high = middle - 1;
    }
    const known = this.points[low]!;
    return this.reached.offset <= offset ? this.reached : known;
  }
}
