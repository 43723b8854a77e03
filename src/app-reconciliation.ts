import type { Db } from './database/pool';
import type { CatalogModel } from './domain/model';
import type { Logger } from './lib/logger';
import { plausible } from './services/ledger/bound';
import type { LedgerStore } from './services/ledger/ledger.store';
import type { PriceBook } from './services/pricing/price-book';
import { Corrector } from './services/reconciliation/corrector';
import { NightlyReconciliation } from './services/reconciliation/nightly-reconciliation';
import { Reconciler } from './services/reconciliation/reconciler';
import { ReconciliationRunStore } from './services/reconciliation/reconciliation-run.store';
import { Reconciliation } from './services/reconciliation/reconciliation.service';
import { ReconciliationStore } from './services/reconciliation/reconciliation.store';
import { RecoveryStore } from './services/recovery/recovery.store';
import type { LitellmAdmin } from './services/upstream/litellm/admin';
import { reportLimiter } from './services/usage/report-limiter';

export interface ReconciliationParts {
  db: Db;
  /** null: there is no proxy whose records could be compared. */
  admin: LitellmAdmin | null;
  calls: LedgerStore;
  prices: PriceBook;
  modelOf(id: string): CatalogModel | null;
  /** Of the day (UTC), from which on every night is compared; null: never. */
  hour: number | null;
  owner: string;
  logger: Logger;
  onClose(close: () => Promise<void>): void;
}

/** Our figures against the proxy's, when somebody asks and every night. */
export function openReconciliation(parts: ReconciliationParts): Reconciliation {
  const { db, admin, calls, prices, modelOf, hour, owner, logger, onClose } = parts;
  const store = new ReconciliationStore(db);
  const reconciler = admin && new Reconciler({ store, records: admin, plausible, modelOf });
  if (reconciler && hour !== null) {
    const corrector = new Corrector({ store: new RecoveryStore(db), calls, prices, modelOf, logger });
    const runs = new ReconciliationRunStore(db);
    const nightly = new NightlyReconciliation({ reconciler, corrector, store: runs, hour, owner, logger });
    nightly.start();
    onClose(() => nightly.stop());
  }
  const limiter = reportLimiter({ max: 2, maxWaitingOfKey: 3 });
  return new Reconciliation({ reconciler, store, isNightly: hour !== null, limiter });
}
