import { buildDataSource } from './pool';

/** What is needed of a TypeORM data source or query runner. */
interface Queries {
  query(sql: string): Promise<unknown>;
}
interface Named {
  name?: string;
}

/** The database has the schema of a release that this one cannot take over. Nothing was changed in it. */
export class EarlierRelease extends Error {
  readonly release = '0.1.0';

  /** `installation` names the journal of the database; null where it has none. */
  constructor(readonly installation: string | null) {
    super(
      'This database has the schema of Weir 0.1.0, which this release cannot take over: point DATABASE_URL at an ' +
        'empty database ' +
        '(nothing was changed in the old one, which 0.1.0 can still read; see docs/releases.md).',
    );
    this.name = 'EarlierRelease';
  }
}

/**
 * Reads, and only reads, whether a database was migrated by a release before the baseline of `migrations`, the list of
 * this program: it then names a migration that is older than the oldest of the list. A database that is empty, or whose
 * first migration did not end, is none.
 */
export async function earlierRelease(database: Queries, migrations: readonly Named[]): Promise<EarlierRelease | null> {
  if (!(await hasTable(database, 'weir_migrations'))) return null;
  const oldest = migrations.map(stampOf).sort()[0] ?? '';
  const ran = (await database.query('SELECT name FROM public.weir_migrations')) as Named[];
  if (!ran.some((migration) => stampOf(migration) < oldest)) return null;
  if (!(await hasTable(database, 'installation'))) return new EarlierRelease(null);
  const [row] = (await database.query('SELECT id FROM public.installation')) as { id: string }[];
  return new EarlierRelease(row?.id ?? null);
}

/** The same of the database at a URL. */
export async function earlierReleaseAt(url: string): Promise<EarlierRelease | null> {
  const dataSource = buildDataSource({ url, poolSize: 1, applicationName: 'weir-release' });
  await dataSource.initialize();
  try {
    return await earlierRelease(dataSource, dataSource.migrations);
  } finally {
    await dataSource.destroy();
  }
}

/** The time at the end of a migration's name, from which TypeORM takes the order, too. */
const stampOf = ({ name = '' }: Named): string => name.slice(-14);

async function hasTable(database: Queries, name: string): Promise<boolean> {
  const [row] = (await database.query(`SELECT to_regclass('public.${name}') IS NOT NULL AS found`)) as {
    found: boolean;
  }[];
  return row!.found;
}
