import { badInput } from '../../errors';
import type { PriceServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';
import type { PriceBook } from './price-book';
import type { PriceRecord } from './pricing.types';

/** What the graph shows of the price book. */
export class PriceService implements PriceServiceApi {
  constructor(private readonly deps: { book: PriceBook }) {}

  current(model: string, organizationId: string): PriceRecord | null {
    return this.deps.book.current(model, organizationId);
  }

  /** General records and those of the viewer's organisation; operators see those of all. Throws BAD_USER_INPUT for a time that is none. */
  async prices(viewer: Viewer, args: { model?: string | null; at?: Date | null }): Promise<PriceRecord[]> {
    if (args.at && Number.isNaN(args.at.getTime())) throw badInput('at', 'must be a time');
    // Another replica may have appended since the last refresh.
    await this.deps.book.reload();
    const records = this.deps.book.inForce(args.at ?? null, args.model ?? null);
    return records.filter((record) => viewer.role === 'OPERATOR' || record.organizationId === null || record.organizationId === viewer.organizationId);
  }
}
