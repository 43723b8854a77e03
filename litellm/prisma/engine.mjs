// Prisma's query engine, as WebAssembly out of the npm package @prisma/client, on the ordinary `pg` driver.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import pg from 'pg';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindAdapter } from '@prisma/driver-adapter-utils';

const require = createRequire(import.meta.url);
/** LiteLLM in one worker keeps fewer queries than this in flight. */
const MAX_CONNECTIONS = 10;
/** Prisma's own parameters in a database URL, which Postgres would refuse. */
const PRISMA_PARAMETERS = ['schema', 'connection_limit', 'pool_timeout', 'connect_timeout', 'socket_timeout', 'pgbouncer', 'statement_cache_size', 'max_idle_connection_lifetime'];

/** `datamodel`: text of a Prisma schema. Gives the WebAssembly engine, connected, and `close`. */
export async function openEngine({ datamodel, databaseUrl }) {
  const url = new URL(databaseUrl);
  const schema = url.searchParams.get('schema') ?? 'public';
  for (const name of PRISMA_PARAMETERS) url.searchParams.delete(name);
  const pool = new CatalogReadingPool({ connectionString: url.toString(), max: MAX_CONNECTIONS, Client: CatalogReadingClient, options: `-c search_path="${schema}"` });
  // An idle connection that breaks (Postgres restarts) must not end the process; the next query opens another.
  pool.on('error', (error) => console.error('query-engine: idle connection lost:', error.message));

  const { QueryEngine } = loadRuntime();
  const engine = new QueryEngine(
    {
      datamodel: withDriverAdapters(datamodel),
      logLevel: 'error',
      logQueries: false,
      ignoreEnvVarErrors: true,
      datasourceOverrides: {},
      env: process.env,
      configDir: '.',
      engineProtocol: 'json',
    },
    (line) => console.error('query-engine:', line),
    bindAdapter(new PrismaPg(pool, { schema })),
  );
  await engine.connect('{}');
  return { engine, close: () => pool.end() };
}

function loadRuntime() {
  const runtime = require('@prisma/client/runtime/query_engine_bg.postgresql.js');
  const bytes = fs.readFileSync(require.resolve('@prisma/client/runtime/query_engine_bg.postgresql.wasm'));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { './query_engine_bg.js': runtime });
  runtime.__wbg_set_wasm(instance.exports);
  return runtime;
}

/** The engine takes a foreign driver only for a schema that asks for it. */
function withDriverAdapters(datamodel) {
  const withoutGenerators = datamodel.replace(/generator\s+\w+\s*\{[^}]*\}/g, '');
  return `${withoutGenerators}\ngenerator engine {\n  provider = "prisma-client-js"\n  previewFeatures = ["driverAdapters"]\n}\n`;
}

// The driver adapter refuses column types that it does not know; LiteLLM reads catalogue tables, whose types (name, regclass, …) read well as text.
const TEXT = 25;
const TEXT_ARRAY = 1009;
const NAME_ARRAY = 1003;
const READ_AS = new Map([[18, TEXT], [19, TEXT], [NAME_ARRAY, TEXT_ARRAY], [2205, TEXT], [2206, TEXT], [2278, TEXT]]);
/** Above the built-in types and below the first user-defined: the types of information_schema. */
const isInformationSchemaType = (oid) => oid > 11_000 && oid < 16_384;
pg.types.setTypeParser(NAME_ARRAY, pg.types.getTypeParser(TEXT_ARRAY));

function readable(result) {
  for (const field of result?.fields ?? []) {
    const known = READ_AS.get(field.dataTypeID) ?? (isInformationSchemaType(field.dataTypeID) ? TEXT : undefined);
    if (known) field.dataTypeID = known;
  }
  return result;
}

class CatalogReadingClient extends pg.Client {
  query(...parameters) {
    const running = super.query(...parameters);
    // With a callback, as the pool calls it, nothing is returned: the pool's own `query` below sees that result.
    return typeof running?.then === 'function' ? running.then(readable) : running;
  }
}

class CatalogReadingPool extends pg.Pool {
  query(...parameters) {
    const running = super.query(...parameters);
    return typeof running?.then === 'function' ? running.then(readable) : running;
  }
}
