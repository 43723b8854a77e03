import { AppError } from '../../errors';
import { HEADER_LINE } from './export-columns.store';
import type { ExportIndex, ExportPoint } from './export-index';
import type { ExportLink } from './export-link';
import { END_OF_TIME, type ExportPage, type ExportSpan, type ExportStore, type KnownChange } from './export.store';

/** A link that we made, and that gives nothing (any more). */
export class ExportLinkError extends AppError {
  constructor(
    readonly reason: 'UNKNOWN' | 'EXPIRED' | 'CHANGED' | 'FORBIDDEN',
    message: string,
  ) {
    super(reason === 'FORBIDDEN' ? 'FORBIDDEN' : 'NOT_FOUND', { public: message });
  }
}

export interface ExportFileDeps {
  store: ExportStore;
  link: ExportLink;
  changes: readonly KnownChange[];
  index: ExportIndex;
  /** Runs a page's statement when it is its turn. */
  turn<T>(work: () => Promise<T>): Promise<T>;
  /** Throws when the reader may not go on. Called often. */
  check(): Promise<void>;
}

/** Calls of a page: about two megabytes, a tenth of a second. Lengths alone are smaller. */
const PAGE_ROWS = 5_000;
const MEASURED_ROWS = 20_000;
// A page looks at a span of time that should hold as many calls as it takes: more are sorted in vain, fewer cost
// statements.
const FIRST_SPAN_MS = 3_600_000;
const MIN_SPAN_MS = 1_000;
const MAX_SPAN_MS = 64 * 86_400_000;
const FILLED = 0.8;
/** Milliseconds of a statement: beyond the first the span does not grow, beyond the second it is halved. */
const CALM_MS = 400;
const LONG_MS = 1_500;
const STATEMENT_TIMEOUT = '57014';

const HEADER = Buffer.from(HEADER_LINE);
export const HEADER_BYTES = HEADER.length;

/**
 * The file behind a link: made of pages, from any byte on, the same bytes whenever and by whomever it is made. Holds
 * one page at a time.
 */
export class ExportFile {
  constructor(private readonly deps: ExportFileDeps) {}

  /** The bytes `from` to `to` (inclusive; null: to the end). `return()` ends it between two pages. */
  async *read(from: number, to: number | null): AsyncGenerator<Buffer, void, void> {
    const { index } = this.deps;
    const end = to === null ? Infinity : to + 1;
    // Not before the first page is there: whoever waits for the first bytes learns what is wrong instead.
    let header: Buffer | null = from < HEADER.length ? HEADER.subarray(from, Math.min(HEADER.length, end)) : null;
    let point = index.before(from);
    for await (const page of this.pages(point, PAGE_ROWS, false)) {
      if (header) yield header;
      header = null;
      if (end <= HEADER.length) return;
      const begin = point.offset;
      point = { offset: begin + page.bytes, key: page.last };
      index.passed(point);
      if (point.offset > from) {
        const bytes = Buffer.from(page.text!);
        yield bytes.subarray(Math.max(0, from - begin), Math.min(bytes.length, end - begin));
      }
      if (point.offset >= end) return;
    }
    index.total = point.offset;
    if (header) yield header;
  }

  /**
   * Counts the bytes that nobody has counted yet, until there are none or the time is over (milliseconds). Gives the
   * length of the file, or null.
   */
  async measure(limitMs: number): Promise<number | null> {
    const { index, check } = this.deps;
    const deadline = performance.now() + limitMs;
    while (index.total === null && performance.now() < deadline) {
      await check();
      // Several who ask for parts of one file at the same time count it once. Whoever counts may leave: then the next
      // one goes on.
      if (index.measuring) await index.measuring.catch(() => undefined);
      else await (index.measuring = this.countUntil(deadline).finally(() => (index.measuring = null)));
    }
    return index.total;
  }

  private async countUntil(deadline: number): Promise<void> {
    const { index } = this.deps;
    let point = index.furthest;
    for await (const page of this.pages(point, MEASURED_ROWS, true)) {
      point = { offset: point.offset + page.bytes, key: page.last };
      index.passed(point);
      if (performance.now() >= deadline) return;
    }
    index.total = point.offset;
  }

  /** All pages with calls after a point, in their order. */
  private async *pages(point: ExportPoint, limit: number, lengthOnly: boolean): AsyncGenerator<ExportPage, void, void> {
    const { link, check } = this.deps;
    let after = point.key;
    // What lies before is in the file already.
    let done: Date | null = after ? dateOf(after.at) : (link.filter.from ?? null);
    let from: Date | null = after ? done : await this.next(done);
    for (let spanMs = FIRST_SPAN_MS; from;) {
      await check();
      const before: Date = new Date(Math.min(from.getTime() + spanMs, END_OF_TIME.getTime()));
      const begun = performance.now();
      const page: ExportPage | null = await this.page(
        { after, from, before },
        done,
        limit,
        lengthOnly,
        spanMs > MIN_SPAN_MS,
      );
      if (!page) {
        spanMs = Math.max(MIN_SPAN_MS, spanMs / 8);
        continue;
      }
      const tookMs = performance.now() - begun;
      if (page.rows > 0) yield page;
      if (page.rows === limit) {
        // As far as these reached; there is more in the same span.
        after = page.last;
        done = dateOf(after!.at);
        spanMs = Math.max(MIN_SPAN_MS, done.getTime() - from.getTime());
        from = done;
        continue;
      }
      [after, done] = [null, before];
      from = page.rows > 0 ? before : before >= END_OF_TIME ? null : await this.next(before);
      if (tookMs > LONG_MS) spanMs /= 2;
      else spanMs *= Math.min((FILLED * limit) / Math.max(page.rows, 1), tookMs > CALM_MS ? 1 : 4);
      spanMs = Math.min(Math.max(spanMs, MIN_SPAN_MS), MAX_SPAN_MS);
    }
  }

  private async next(done: Date | null): Promise<Date | null> {
    const { store, link, turn } = this.deps;
    const { at, droppedBefore } = await turn(() => store.next(link.filter, done));
    refuseDropped(droppedBefore, done);
    return at;
  }

  /** null: it took too long, and a shorter span may not. */
  private async page(
    span: ExportSpan,
    done: Date | null,
    limit: number,
    lengthOnly: boolean,
    mayTimeOut: boolean,
  ): Promise<ExportPage | null> {
    const { store, link, changes, turn } = this.deps;
    let page: ExportPage;
    try {
      page = await turn(() => store.page(link, changes, span, limit, lengthOnly));
    } catch (error) {
      if (mayTimeOut && (error as { code?: string }).code === STATEMENT_TIMEOUT) return null;
      throw error;
    }
    refuseRenamed(page.names, link);
    refuseDropped(page.droppedBefore, done);
    return page;
  }
}

const changed = (why: string): ExportLinkError =>
  new ExportLinkError(
    'CHANGED',
    `This file can no longer be made as it was: ${why}. Ask for a new link with exportUsage.`,
  );

/**
 * A line has the names that people, projects and organisations have when it is made, and each making has to give the
 * same lines.
 */
export function refuseRenamed(names: string, link: ExportLink): void {
  if (names !== link.names) throw changed('names of people, projects or organisations in it were changed');
}

/** Throws where calls were removed that come after what is done (null: nothing is). */
export function refuseDropped(droppedBefore: Date | null, done: Date | null): void {
  if (droppedBefore !== null && (done === null || done < droppedBefore))
    throw changed('some of its calls are no longer kept');
}

/** To the millisecond, cut. */
const dateOf = (at: string): Date => new Date(at);
