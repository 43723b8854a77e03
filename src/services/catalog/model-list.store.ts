import type { Db } from '../../database/pool';
import type { CatalogModel } from '../../domain/model';

/** The last good list of each upstream: what a replica serves that starts while the upstream is away. */
export class ModelListStore {
  constructor(private readonly db: Db) {}

  async load(upstream: string): Promise<{ models: CatalogModel[]; asOf: Date } | null> {
    const [row] = await this.db.query<{ models: CatalogModel[]; as_of: Date }>(
      'SELECT models, as_of FROM model_lists WHERE upstream = $1',
      [upstream],
    );
    // Lists of earlier releases have no fallbacks.
    return row
      ? { models: row.models.map((model) => ({ ...model, fallbacks: model.fallbacks ?? [] })), asOf: row.as_of }
      : null;
  }

  /** Answers with the time of the list. */
  async save(upstream: string, models: readonly CatalogModel[]): Promise<Date> {
    const [row] = await this.db.query<{ as_of: Date }>(
      `INSERT INTO model_lists (upstream, models, as_of) VALUES ($1, $2, weir.now())
       ON CONFLICT (upstream) DO UPDATE SET models = excluded.models, as_of = excluded.as_of RETURNING as_of`,
      [upstream, JSON.stringify(models)],
    );
    return row!.as_of;
  }
}
