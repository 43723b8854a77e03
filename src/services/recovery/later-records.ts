import type { SpendRecords } from '../upstream/litellm/spend-record';
import { believed, correctedEnd, ownerOf, type BeliefDeps, type PricingDeps } from './lost-call';
import type { RecoveryStore } from './recovery.store';
import type { Settlement } from '../../domain/call';

export interface LaterRecordsDeps extends PricingDeps {
  store: Pick<RecoveryStore, 'lostWithoutRecord' | 'settledCall'>;
  records: SpendRecords;
  plausible: BeliefDeps['plausible'];
  correct(ends: readonly Settlement[], reason: string): Promise<string[]>;
}

/** A lost call's record is asked for again when it has been settled for so long. Milliseconds. */
const ASK_AFTER_MS = [60_000, 5 * 60_000, 30 * 60_000, 6 * 3_600_000];
const MAX_ASKED = 200;
const MAX_LISTED = 10_000;

/**
 * The proxy's record of a lost call may come after its settlement: the provider went on, the proxy was away. Then the
 * usage row is corrected, by further rows.
 */
export class LaterRecords {
  /** How often each call was asked for. Another process, or this one after a restart, begins again: harmless. */
  private readonly asked = new Map<string, number>();

  constructor(private readonly deps: LaterRecordsDeps) {}

  /** Asks for what is due. Gives how many calls were corrected. Rejects when the proxy or the database is away. */
  async look(): Promise<number> {
    const rows = await this.deps.store.lostWithoutRecord(MAX_LISTED);
    const listed = new Set(rows.map(({ id }) => id));
    for (const id of this.asked.keys()) if (!listed.has(id)) this.asked.delete(id);

    const timesDue = (settledMs: number): number => ASK_AFTER_MS.filter((ms) => settledMs >= ms).length;
    const due = rows.filter(({ id, settledMs }) => timesDue(settledMs) > (this.asked.get(id) ?? 0)).slice(0, MAX_ASKED);
    let corrected = 0;
    for (const row of due) {
      const found = await this.deps.records.spendRecord(row.id, ownerOf(row));
      this.asked.set(row.id, timesDue(row.settledMs));
      const record =
        found &&
        believed(
          found,
          { model: row.model, promptBound: row.promptTokens, maxTokens: row.completionTokens },
          this.deps,
        );
      if (!record || (!record.tokens && !record.fromCache)) continue;
      const settled = await this.deps.store.settledCall(row);
      if (settled)
        corrected += (await this.deps.correct([correctedEnd(settled, record, this.deps)], 'SPEND_RECORD')).length;
    }
    return corrected;
  }
}
