import type { Db } from './database/pool';
import type { LoopLoad } from './lib/loop-load';
import type { Metrics } from './lib/metrics';
import type { LedgerStore } from './services/ledger/ledger.store';
import type { RollupWorker } from './services/rollups/rollup-worker';
import type { SettlementWriter } from './services/recovery/settlement-writer';
import type { ModelCatalog } from './services/catalog/model-catalog';
import type { RunningCalls } from './services/pipeline/running-calls';
import type { StatusService } from './server/health';
import type { Streams } from './services/streams/streams';

export interface Observed {
  metrics: Metrics;
  db: Pick<Db, 'connections'>;
  running: Pick<RunningCalls, 'size'>;
  callStore: Pick<LedgerStore, 'waiting' | 'reserved'>;
  writer: Pick<SettlementWriter, 'inMemory' | 'inJournal'>;
  catalog: Pick<ModelCatalog, 'snapshot'>;
  streams: Pick<Streams, 'size'>;
  loopLoad: Pick<LoopLoad, 'current'>;
  figures: Pick<RollupWorker, 'lagSeconds'>;
  status: Pick<StatusService, 'status'>;
}

/** What is asked of the database is the same for all processes, and asked at most so often. Milliseconds. */
const DATABASE_EVERY_MS = 15_000;

/** Gauges of what this process has anyway: they are read when the metrics are asked for, and cost nothing otherwise. */
export function observeStates({
  metrics,
  db,
  running,
  callStore,
  writer,
  catalog,
  streams,
  loopLoad,
  figures,
  status,
}: Observed): void {
  const number = (name: string, help: string, read: () => number): void =>
    metrics.state(name, help, [], () => [[{}, read()]]);
  number('weir_calls_in_flight', 'Calls that this process is running.', () => running.size);
  number('weir_streams_running', 'Streams that this process is running.', () => streams.size);
  number(
    'weir_journal_pending_ends',
    'Ends of calls that wait in the journal for the database.',
    () => writer.inJournal,
  );
  number(
    'weir_ends_in_memory',
    'Ends of calls that neither the database nor the journal has taken.',
    () => writer.inMemory,
  );
  number('weir_models_listed', 'Models that the upstream lists.', () => catalog.snapshot().models.length);
  number('weir_event_loop_utilization', 'How busy the event loop was lately, from 0 to 1.', () => loopLoad.current);
  metrics.state('weir_group_queue_items', 'Calls that wait for a group commit.', ['kind'], () =>
    Object.entries(callStore.waiting).map(([kind, count]) => [{ kind }, count]),
  );
  metrics.state(
    'weir_db_pool_connections',
    'Connections to Postgres; "waiting" are those who wait for one.',
    ['pool', 'state'],
    () => db.connections().map(({ pool, state, count }) => [{ pool, state }, count]),
  );
  metrics.state('weir_dependency_up', '1: it can be used; 0: it is down, or late.', ['component'], async () => {
    const { database, proxy, cubes, streamLog } = await status.status();
    const found = Object.entries({ database, proxy, cubes, stream_log: streamLog }).filter(
      ([, { state }]) => state !== 'OFF',
    );
    return found.map(([component, { state }]) => [{ component }, state === 'UP' ? 1 : 0]);
  });

  const lag = atMostEvery(DATABASE_EVERY_MS, () => figures.lagSeconds());
  metrics.state(
    'weir_rollup_lag_seconds',
    'Age of the oldest settled call that is not in the rollup tables. Of the whole installation.',
    [],
    async () => [[{}, await lag()]],
  );
  const reserved = atMostEvery(DATABASE_EVERY_MS, async () => Number(await callStore.reserved()));
  metrics.state(
    'weir_reservations_dollars',
    'What running calls have reserved at budgets, for watching only. Of the whole installation.',
    [],
    async () => [[{}, await reserved()]],
  );
}

/** What the work gave, which is done again when that is older than so many milliseconds. */
function atMostEvery<T>(ms: number, work: () => Promise<T>): () => Promise<T> {
  let given: { at: number; value: Promise<T> } | null = null;
  return () => {
    if (!given || performance.now() - given.at > ms) {
      const value = work();
      given = { at: performance.now(), value };
      value.catch(() => (given = null));
    }
    return given.value;
  };
}
