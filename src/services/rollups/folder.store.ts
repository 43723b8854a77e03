import { BackgroundConnection } from '../../database/background-connection';

/** Folding takes part of a second. A statement that takes longer than this hangs. Milliseconds. */
const STATEMENT_MS = 60_000;

/** Folds settled batches into the cubes, on a connection of its own. */
export class FolderStore {
  private readonly connection: BackgroundConnection;

  constructor(url: string) {
    this.connection = new BackgroundConnection({
      url,
      applicationName: 'weir-folder',
      statementTimeoutMs: STATEMENT_MS,
    });
  }

  /**
   * The oldest batches, until so many rows are done. None where there are none, or where another process is folding.
   */
  async fold(maxRows: number): Promise<{ batches: number; rows: number }> {
    const [row] = await this.connection.query<{ batches: number; rows: string }>(
      'SELECT batches, rows FROM weir.fold($1)',
      [maxRows],
    );
    return { batches: row!.batches, rows: Number(row!.rows) };
  }

  close(): void {
    this.connection.close();
  }
}
