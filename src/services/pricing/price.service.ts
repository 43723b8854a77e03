import type { Db } from '../../database/pool';
import { badInput, forbidden, notFound } from '../../errors';
import { logAct } from '../../lib/audit';
import type { Logger } from '../../lib/logger';
import type { Viewer } from '../../domain/principal';
import type { PriceBook } from './price-book';
import { PriceChanges } from './price-changes';
import { PriceImpactStore } from './price-impact.store';
import { readPriceEdit } from './price.input';
import { PriceStore } from './price.store';
import type { ModelPriceEdit, PriceChangeResult, PriceRecord } from './pricing.types';
import type { PeopleService } from '../accounts/people.service';

export interface PriceServiceDeps {
  db: Db;
  book: PriceBook;
  people: Pick<PeopleService, 'visibleOrganization'>;
  /** Sums over many rows run in it: a few at a time. */
  limiter?: { run<T>(key: string, work: () => Promise<T>): Promise<T> };
  logger: Logger;
}

/** Milliseconds for which a writer of the book may be under way: no transaction of ours takes longer. */
const WRITERS_END_MS = 20_000;

/** What the graph shows of the price book, and operators' prices. */
export class PriceService {
  private readonly store: PriceStore;
  private readonly changes: PriceChanges;

  constructor(private readonly deps: PriceServiceDeps) {
    this.store = new PriceStore(deps.db);
    this.changes = new PriceChanges({
      book: deps.book,
      store: this.store,
      impact: new PriceImpactStore(deps.db, this.store),
      logger: deps.logger,
    });
  }

  /** The record in force now for a model as this organisation pays it; from memory. */
  current(model: string, organizationId: string): PriceRecord | null {
    return this.deps.book.current(model, organizationId);
  }

  /**
   * General records and those of the viewer's organisation; operators see those of all. Throws BAD_USER_INPUT for a
   * time that is none, and for `asOf` in the future.
   */
  async prices(
    viewer: Viewer,
    args: { model?: string | null; at?: Date | null; asOf?: Date | null },
  ): Promise<PriceRecord[]> {
    const { at = null, asOf = null } = args;
    for (const [name, time] of Object.entries({ at, asOf }))
      if (time && Number.isNaN(time.getTime())) throw badInput(name, 'must be a time');
    if (asOf) await this.awaitBook(asOf);
    // Another replica may have appended since the last refresh.
    await this.deps.book.reload();
    const records = this.deps.book.inForce(at, args.model ?? null, asOf);
    return records.filter(
      (record) =>
        viewer.role === 'OPERATOR' || record.organizationId === null || record.organizationId === viewer.organizationId,
    );
  }

  /**
   * Operators. What it does to calls that have been settled is in the answer; with `dryRun` only that. Throws
   * FORBIDDEN, NOT_FOUND, BAD_USER_INPUT, RATE_LIMITED, SERVICE_UNAVAILABLE.
   */
  async setModelPrice(viewer: Viewer, input: ModelPriceEdit, dryRun: boolean): Promise<PriceChangeResult> {
    if (viewer.role !== 'OPERATOR') throw forbidden('OPERATOR');
    const record = { ...readPriceEdit(input), recordedBy: viewer.userId };
    if (record.organizationId !== null && !(await this.deps.people.visibleOrganization(viewer, record.organizationId)))
      throw notFound('organizationId');
    const before = this.deps.book.current(record.model, record.organizationId ?? '');
    const work = (): Promise<PriceChangeResult> => (dryRun ? this.changes.dryRun(record) : this.changes.apply(record));
    const result = await (this.deps.limiter ? this.deps.limiter.run(viewer.userId, work) : work());
    if (!dryRun) {
      const { price, affectedCalls, costBefore, costAfter } = result;
      const target = { id: String(price.number), organizationId: price.organizationId };
      logAct(this.deps.logger, {
        actor: viewer.userId,
        action: 'price.set',
        target,
        before,
        after: { ...price, affectedCalls, costBefore, costAfter },
      });
    }
    return result;
  }

  /**
   * The book as of a time that has passed never changes: whoever may yet commit a record with an earlier time of
   * recording is waited for.
   */
  private async awaitBook(asOf: Date): Promise<void> {
    const nowMs = await this.store.nowMs();
    if (asOf.getTime() > nowMs) throw badInput('asOf', `is in the future: it is ${new Date(nowMs).toISOString()} now`);
    if (asOf.getTime() > nowMs - WRITERS_END_MS) await this.store.writersEnded();
  }
}
