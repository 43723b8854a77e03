import { readProxy } from './config';
import type { Db } from './database/pool';
import { createLogger } from './lib/logger';
import { LedgerStore } from './services/ledger/ledger.store';
import { RecoveryStore } from './services/recovery/recovery.store';
import { plausible } from './services/ledger/bound';
import { LitellmAdmin } from './services/upstream/litellm/admin';
import { ModelListStore } from './services/catalog/model-list.store';
import { PriceBook } from './services/pricing/price-book';
import { Corrector } from './services/reconciliation/corrector';
import { reconcile } from './services/reconciliation/reconcile-command';
import { Reconciler } from './services/reconciliation/reconciler';
import { ReconciliationStore } from './services/reconciliation/reconciliation.store';

const DAY_MS = 86_400_000;

/** `npm run admin -- reconcile`: builds what a server has for the same, and prints while it runs. */
export async function reconcileByHand(
  db: Db,
  { from, to }: { from?: string; to?: string },
  print: (line: string) => void,
): Promise<string[]> {
  const span = { from: timeOf('--from', from), to: timeOf('--to', to) };
  if (!(span.from < span.to)) throw new Error('--from must be before --to');
  if (span.to.getTime() - span.from.getTime() > 366 * DAY_MS) throw new Error('at most a year at a time');
  const admin = new LitellmAdmin(readProxy());
  try {
    const logger = createLogger({ level: 'warn' });
    const prices = new PriceBook({ db, logger });
    await prices.start();
    const store = new ReconciliationStore(db);
    const { keptFrom } = await store.clock();
    if (keptFrom && span.from < keptFrom)
      throw new Error(`--from must not be before ${keptFrom.toISOString()}: single calls from before are not kept`);
    // As a server last saw it: what the nightly run does not believe is not believed here either.
    const models = new Map((await new ModelListStore(db).load('LITELLM'))?.models.map((model) => [model.id, model]));
    // A corrected call keeps its provider; the models are a server's to know.
    const corrector = new Corrector({
      store: new RecoveryStore(db),
      calls: new LedgerStore(db, prices),
      prices,
      modelOf: () => null,
      logger,
    });
    await reconcile(span, {
      reconciler: new Reconciler({ store, records: admin, plausible, modelOf: (id) => models.get(id) ?? null }),
      corrector,
      print,
    });
    return [];
  } finally {
    await admin.close();
  }
}

function timeOf(name: string, value: string | undefined): Date {
  const text = value && /^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00:00Z` : (value ?? '');
  const time = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) || Number.isNaN(time.getTime()))
    throw new Error(`${name} is a day (UTC) or a time with its zone, as in 2026-11-01 or 2026-11-01T00:00:00Z`);
  return time;
}
