import type { Logger } from '../../lib/logger';
import { correctedEnd, type PricingDeps } from '../recovery/lost-call';
import type { RecoveryStore } from '../recovery/recovery.store';
import type { ListedRecord } from '../upstream/litellm/spend-list';
import type { OurCall } from './reconciliation.types';
import type { Settlement } from '../../domain/call';
import { NO_TOKENS } from '../../domain/money';

export interface CorrectorDeps extends PricingDeps {
  store: Pick<RecoveryStore, 'settledCall'>;
  calls: { correct(ends: readonly Settlement[], reason: string): Promise<string[]> };
  logger: Logger;
}

/**
 * Books what the proxy knows in place of estimates: two further rows each, with the reason RECONCILIATION. Harmless,
 * whoever else does the same.
 */
export class Corrector {
  constructor(private readonly deps: CorrectorDeps) {}

  /** One that cannot be written keeps no other from it: `notCorrected` counts those. */
  async correct(
    corrections: readonly { call: OurCall; record: ListedRecord }[],
  ): Promise<{ corrected: number; notCorrected: number }> {
    const counts = { corrected: 0, notCorrected: 0 };
    for (const { call, record } of corrections) {
      try {
        counts.corrected += await this.one(call, record);
      } catch (error) {
        if (counts.notCorrected === 0)
          this.deps.logger.error(
            { callId: call.id, err: error },
            'a call could not be corrected to what the proxy knows of it',
          );
        counts.notCorrected += 1;
      }
    }
    return counts;
  }

  private async one(call: OurCall, record: ListedRecord): Promise<number> {
    const settled = await this.deps.store.settledCall({
      id: call.rowId,
      occurredAt: call.occurredAt,
      organizationId: call.organizationId,
    });
    if (!settled) return 0;
    const tokens = record.state === 'REFUSED' ? NO_TOKENS : record.tokens;
    const end = correctedEnd({ ...settled, id: call.id }, { ...record, tokens }, this.deps);
    return (await this.deps.calls.correct([{ ...end, provider: end.provider ?? settled.provider }], 'RECONCILIATION'))
      .length;
  }
}
