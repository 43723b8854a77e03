import { Client } from 'pg';
import type { Db } from '../../src/database/pool';
import { INSERT_BATCHES, INSERT_DAY, ROWS_PER_BATCH } from './dashboard-rows';
import {
  daysOf,
  idOf,
  MODELS_PER_ORGANIZATION,
  models,
  organizations,
  PLAN_ID,
  projectIds,
  START,
  tokenIdOf,
  userIds,
  type Day,
} from './dashboard-shape';

/** Connections that write rows. */
const LOADERS = 2;
const PROGRESS_ROWS = 1_000_000;
const DAY_MS = 86_400_000;

const seconds = (startedAt: number): number => (performance.now() - startedAt) / 1_000;
const perSecond = (rows: number, startedAt: number): string =>
  `${Math.round(rows / seconds(startedAt)).toLocaleString('en')} rows/s`;

/**
 * Organisations, people, projects and models: as tables of the product where it has them, and as what the rows are
 * drawn from.
 */
export async function writeDimensions(db: Db): Promise<void> {
  const many = async (sql: string, rows: readonly (readonly unknown[])[]): Promise<void> => {
    const columns = rows[0]!.map((_, column) => rows.map((row) => row[column]));
    await db.query(sql, columns);
  };
  await db.query(`INSERT INTO plans (id, name, models) VALUES ($1, 'bench', '{*}')`, [PLAN_ID]);
  await many(
    'INSERT INTO organizations (id, name) SELECT * FROM unnest($1::text[], $2::text[])',
    organizations.map(({ id, name }) => [id, name]),
  );
  const owners = organizations.flatMap(({ id, users }) => Array.from({ length: users }, () => id));
  await many(
    `INSERT INTO users (id, organization_id, name, role, plan_id) SELECT u, o, n, r, '${PLAN_ID}' FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS x(u, o, n, r)`,
    userIds.map((id, i) => [id, owners[i], `User ${i + 1}`, owners[i] === owners[i - 1] ? 'MEMBER' : 'ANALYST']),
  );
  const projectOwners = organizations.flatMap(({ id, projects }) => Array.from({ length: projects }, () => id));
  await many(
    'INSERT INTO projects (id, organization_id, name) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])',
    projectIds.map((id, i) => [id, projectOwners[i], `Project ${i + 1}`]),
  );

  await db.query(`
    CREATE SCHEMA bench;
    CREATE TABLE bench.organizations (rank integer PRIMARY KEY, id text, budget_id text, first_user integer, users integer, first_project integer, projects integer);
    CREATE TABLE bench.users (number integer PRIMARY KEY, id text, token_id text);
    CREATE TABLE bench.projects (number integer PRIMARY KEY, id text);
    CREATE TABLE bench.models (number integer PRIMARY KEY, id text, provider text, reasons boolean, pace integer);
    CREATE TABLE bench.organization_models (rank integer, nth integer, model integer, PRIMARY KEY (rank, nth));
    -- Of the price book: what holds from when to when, by the knowledge of which time.
    CREATE TABLE bench.prices (model text, number bigint, from_at timestamptz, to_at timestamptz, recorded_at timestamptz, PRIMARY KEY (model, number));
    CREATE TABLE bench.shares (ranks float8[], books bigint[], recorded timestamptz[])`);
  await many(
    'INSERT INTO bench.organizations SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[], $7::int[])',
    organizations.map(({ rank, id, firstUser, users, firstProject, projects }) => [
      rank,
      id,
      idOf('bud', rank),
      firstUser,
      users,
      firstProject,
      projects,
    ]),
  );
  await many(
    'INSERT INTO bench.users SELECT * FROM unnest($1::int[], $2::text[], $3::text[])',
    userIds.map((id, i) => [i, id, tokenIdOf(i)]),
  );
  await many(
    'INSERT INTO bench.projects SELECT * FROM unnest($1::int[], $2::text[])',
    projectIds.map((id, i) => [i, id]),
  );
  await many(
    'INSERT INTO bench.models SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bool[], $5::int[])',
    models.map(({ id, provider, reasons, pace }, i) => [i, id, provider, reasons, pace]),
  );
  await many(
    'INSERT INTO bench.organization_models SELECT * FROM unnest($1::int[], $2::int[], $3::int[])',
    organizations.flatMap(({ rank, models: own }) => own.map((model, nth) => [rank, nth + 1, model])),
  );
  if (organizations.some(({ models: own }) => own.length !== MODELS_PER_ORGANIZATION))
    throw new Error('an organisation has not its dozen models');
}

/** After the prices are recorded: what of them the rows are priced by. */
export async function takePrices(db: Db): Promise<void> {
  let so = 0;
  const ranks = organizations.map(({ share }) => {
    const from = so;
    so += share;
    return from;
  });
  await db.query(
    `INSERT INTO bench.prices SELECT model, number, effective_from, coalesce(effective_to, 'infinity'), recorded_at FROM model_prices`,
  );
  await db.query(
    'INSERT INTO bench.shares SELECT $1::float8[], array_agg(number ORDER BY number), array_agg(recorded_at ORDER BY number) FROM model_prices',
    [ranks],
  );
  await db.query(
    'ANALYZE bench.organizations, bench.users, bench.projects, bench.models, bench.organization_models, bench.prices, bench.shares, price_rates',
  );
}

/** The partitions of the past, as they would have been made month by month. */
async function makePartitions(db: Db): Promise<void> {
  for (let month = new Date(Date.UTC(START.getUTCFullYear(), START.getUTCMonth(), 1)); ;) {
    const next = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1));
    const name = `llm_usage_${month.toISOString().slice(0, 7).replace('-', '_')}`;
    const [row] = await db.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [name]);
    if (row!.there) return;
    await db.query(
      `CREATE TABLE ${name} PARTITION OF llm_usage FOR VALUES FROM ('${month.toISOString()}') TO ('${next.toISOString()}')`,
    );
    month = next;
  }
}

/**
 * Writes the rows, day after day, a few connections side by side, with every index that the product has. Gives rows a
 * second.
 */
export async function writeRows(url: string, db: Db, rows: number): Promise<number> {
  await makePartitions(db);
  const startedAt = performance.now();
  const days = daysOf(rows);
  let batches = 0;
  const work = days.map((day) => {
    const firstBatch = batches + 1;
    batches += Math.ceil(day.rows / ROWS_PER_BATCH);
    return { day, firstBatch, lastBatch: batches };
  });
  let [done, told, next] = [0, 0, 0];
  const loader = async (): Promise<void> => {
    const client = new Client({
      connectionString: url,
      options: '-c TimeZone=UTC -c synchronous_commit=off -c jit=off',
    });
    await client.connect();
    for (let item = work[next++]; item; item = work[next++]) {
      await writeDay(client, item);
      done += item.day.rows;
      if (done - told >= PROGRESS_ROWS) {
        told = done;
        console.log(`  ${done.toLocaleString('en')} rows, ${perSecond(done, startedAt)}`);
      }
    }
    await client.end();
  };
  await Promise.all(Array.from({ length: LOADERS }, loader));
  await db.query(`SELECT setval('weir.usage_batch_ids', $1)`, [batches]);
  const rate = rows / seconds(startedAt);
  console.log(`  ${rows.toLocaleString('en')} rows written, ${perSecond(rows, startedAt)}`);
  return rate;
}

async function writeDay(
  client: Client,
  { day, firstBatch, lastBatch }: { day: Day; firstBatch: number; lastBatch: number },
): Promise<void> {
  if (day.rows === 0) return;
  const end = new Date(day.startsAt.getTime() + DAY_MS);
  await client.query('BEGIN');
  await client.query(INSERT_DAY, [day.startsAt, day.rows, day.firstRow, day.until, firstBatch]);
  await client.query(INSERT_BATCHES, [firstBatch, lastBatch, day.startsAt, end]);
  await client.query('COMMIT');
}

/** Folds what was written with the product's function, in big steps. Gives rows a second. */
export async function foldRows(db: Db, step: number): Promise<number> {
  const startedAt = performance.now();
  for (let done = 0, told = 0; ;) {
    const [folded] = await db.query<{ rows: string }>('SELECT rows FROM weir.fold($1)', [step]);
    done += Number(folded!.rows);
    if (folded!.rows === '0' || done - told >= PROGRESS_ROWS) {
      told = done;
      console.log(`  ${done.toLocaleString('en')} rows folded, ${perSecond(done, startedAt)}`);
    }
    if (folded!.rows === '0') return done / seconds(startedAt);
  }
}

/** Folds the differences of every price change, a week of calls at a time. Gives how many changes there were. */
export async function foldPrices(db: Db): Promise<number> {
  const startedAt = performance.now();
  const changes = await db.query<{ book: string; starts_at: Date; ends_at: Date | number }>(
    `SELECT book, starts_at, least(ends_at, recorded_at) AS ends_at FROM price_changes WHERE folded_before < 'infinity' ORDER BY book`,
  );
  for (const { book, starts_at: from, ends_at: to } of changes) {
    for (let at = from.getTime() + 7 * DAY_MS; at < Number(to); at += 7 * DAY_MS)
      await db.query('SELECT weir.fold_price_change($1, $2)', [book, new Date(at)]);
    await db.query(`SELECT weir.fold_price_change($1, 'infinity')`, [book]);
  }
  console.log(`  ${changes.length} price changes folded in ${seconds(startedAt).toFixed(0)} s`);
  return changes.length;
}
