import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import fastify, { type FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { addExports } from '../../../src/server/export-route';
import { AsOf } from '../../../src/services/usage/as-of.store';
import { ExportLinks } from '../../../src/services/exports/export-link';
import { ExportService, type ExportServiceDeps } from '../../../src/services/exports/export.service';
import { ExportStore, type ExportPage, type ExportSpan } from '../../../src/services/exports/export.store';
import type { UsageFilter } from '../../../src/services/usage/usage.types';
import { createTestDatabase, type TestDatabase } from '../../support/database';
import { createWorld, type World } from '../../support/factories';
import { memoryLogger } from '../../support/log';
import { waitFor } from '../../support/wait';
import { get, parseCsv } from './export-scene';
import { correctUsage, insertUsage, usageRow, type UsageRow } from '../usage/usage-rows';

type PageArguments = Parameters<ExportStore['page']>;

/** Remembers each page that was made, and does what a test wants before it is. */
class WatchedStore extends ExportStore {
  readonly asked: { to: Date | null; span: ExportSpan; limit: number; lengthOnly: boolean }[] = [];
  before: (span: ExportSpan, nth: number) => Promise<void> | void = () => {};

  override async page(...args: PageArguments): Promise<ExportPage> {
    const [{ filter }, , span, limit, lengthOnly] = args;
    this.asked.push({ to: filter.to ?? null, span, limit, lengthOnly });
    await this.before(span, this.asked.length);
    return super.page(...args);
  }
}

let database: TestDatabase;
let world: World;
let store: WatchedStore;
let server: FastifyInstance;
const logger = memoryLogger();
let ended: Set<string>;
beforeAll(async () => {
  database = await createTestDatabase();
});
beforeEach(async () => {
  world = await createWorld(database.db);
  await database.db.query(`UPDATE usage_retention SET dropped_before = '-infinity'`);
  logger.lines.length = 0;
  ended = new Set();
});
afterEach(() => server.close());
afterAll(() => database.close());

/** The service behind its route, with a store that can be watched. Gives what makes links. */
async function open(limits: ExportServiceDeps['limits'] = {}): Promise<(filter?: UsageFilter) => Promise<string>> {
  const { db } = database;
  store = new WatchedStore(db);
  const user = (id: string) => ({
    id,
    organizationId: world.organizationId,
    name: '',
    email: null,
    externalId: null,
    role: 'ANALYST' as const,
    planId: world.planId,
    blocked: false,
    createdAt: new Date(),
  });
  const exports = new ExportService({
    store,
    logger,
    limits: { countWholeMs: 0, ...limits },
    links: new ExportLinks(randomBytes(32).toString('base64')),
    asOf: new AsOf(db),
    auth: { ended: async (viewers) => new Set(viewers.filter(({ userId }) => ended.has(userId))) },
    people: { usersById: async (ids) => ids.map(user) },
  });
  server = fastify({ forceCloseConnections: true });
  addExports(server, { services: { exports }, logger, isStopping: () => false });
  const base = await server.listen({ port: 0, host: '127.0.0.1' });
  return async (filter = {}) => base + (await exports.link(world.analyst.viewer, filter, null)).path;
}

const row = (ms: number, fields: Partial<UsageRow> = {}): UsageRow =>
  usageRow({
    organization_id: world.organizationId,
    user_id: world.member.id,
    occurred_at: new Date(Date.UTC(2026, 9, 1) + ms).toISOString(),
    ...fields,
  });
/** Pages of 10 MB, which no buffer between two processes holds. */
const settleLarge = async (count: number): Promise<void> => {
  const template = row(0, { agent: 'x'.repeat(2_000) });
  const columns = Object.keys(template)
    .filter((name) => !['organization_id', 'id', 'occurred_at'].includes(name))
    .join(', ');
  await database.db.query(
    `INSERT INTO llm_usage (organization_id, id, occurred_at, batch_id, ${columns}) SELECT organization_id, id || n, occurred_at + n * interval '1 millisecond', 0, ${columns} FROM json_populate_record(NULL::llm_usage, $1::json), generate_series(1, $2::integer) AS n`,
    [JSON.stringify(template), count],
  );
};

/** A client that asks, and reads nothing until it wants to. */
async function asking(url: string): Promise<net.Socket> {
  const { hostname, port, pathname } = new URL(url);
  const socket = net.connect(Number(port), hostname).pause();
  await once(socket, 'connect');
  socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`);
  return socket;
}
const pool = (): Pool => (database.db.dataSource.driver as unknown as { master: Pool }).master;
const readEnded = (): boolean => logger.lines.some(({ message }) => message === 'an export was read');

describe('making a file', () => {
  it('goes on only as fast as the client takes it: a page is sent while the next one is there, and no connection waits with them', async () => {
    const link = await open();
    await settleLarge(25_000);
    const slow = await asking(await link());
    const made = (): number => store.asked.filter(({ to }) => to === null).length;
    await waitFor(() => made() === 2 && pool().idleCount === pool().totalCount, { what: 'the second page' });
    // Others are served meanwhile, and nothing more is made for this one.
    const few = await link({ to: new Date(Date.UTC(2026, 9, 1) + 101) });
    for (let round = 0; round < 5; round += 1) expect(parseCsv((await get(few)).text)).toHaveLength(101);
    expect([made(), pool().idleCount]).toEqual([2, pool().totalCount]);
    const received: Buffer[] = [];
    slow.on('data', (data: Buffer) => received.push(data)).resume();
    await once(slow, 'end');
    expect(Buffer.concat(received).length).toBeGreaterThan(25_000 * 2_000);
    expect(made()).toBeGreaterThanOrEqual(5);
    expect(new Set(store.asked.map(({ limit }) => limit))).toEqual(new Set([5_000]));
  });

  it('ends with the client', async () => {
    const link = await open();
    await settleLarge(20_000);
    const slow = await asking(await link());
    await waitFor(() => store.asked.length === 2, { what: 'the second page' });
    slow.destroy();
    await waitFor(readEnded, { what: 'the end of the download' });
    expect(store.asked.length).toBe(2);
    expect(logger.lines.filter(({ level }) => level !== 'info')).toEqual([]);
  });

  it('counting the bytes ends with the client, too', async () => {
    const link = await open({ countWholeMs: 60_000 });
    await insertUsage(database.db, [row(1), row(40 * 86_400_000)]);
    const connections = (): Promise<number> =>
      new Promise((resolve) => server.server.getConnections((_error, count) => resolve(count)));
    const gone = new Promise<void>((resolve) => {
      store.before = async () => {
        store.before = () => {};
        client.destroy();
        await waitFor(async () => (await connections()) === 0, { what: 'the server to learn of it' });
        resolve();
      };
    });
    const client = await asking(await link());
    await gone;
    expect((await get(await link({ to: new Date() }))).status).toBe(200);
    expect(store.asked.filter(({ to }) => to === null)).toHaveLength(1);
    expect(logger.lines.filter(({ message }) => message === 'an export was read').length).toBeLessThanOrEqual(1);
  });

  it('ends in the middle for whoever may read no longer, and what came can be told from the whole', async () => {
    const link = await open({ checkEveryMs: 0 });
    await settleLarge(10_000);
    store.before = (_span, nth) => void (nth === 2 && ended.add(world.analyst.id));
    const response = await fetch(await link());
    await expect(response.arrayBuffer()).rejects.toThrow('terminated');
    await waitFor(readEnded);
    expect(logger.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
      'an export broke off',
    ]);
  });

  it.each([
    [
      'a name is changed',
      () => database.db.query(`UPDATE users SET name = 'Renamed' WHERE id = $1`, [world.member.id]),
    ],
    [
      'calls are dropped',
      () => database.db.query(`UPDATE usage_retention SET dropped_before = '2026-10-01T00:00:07Z'`),
    ],
  ])('breaks off rather than mix two files: %s in the middle', async (_what, change) => {
    const link = await open();
    await settleLarge(10_000);
    store.before = async (_span, nth) => void (nth === 2 && (await change()));
    const url = await link();
    const response = await fetch(url);
    await expect(response.arrayBuffer()).rejects.toThrow('terminated');
    expect((await get(url, { range: 'bytes=1000-' })).status).toBe(410);
  });

  it('takes calls of one microsecond in the order of their ids, over as many pages as they need, corrected ones at their place', async () => {
    const link = await open();
    const calls = Array.from({ length: 11_000 }, () => row(7));
    await insertUsage(database.db, calls);
    for (const call of calls.slice(4_990, 5_010)) await correctUsage(database.db, call, { output_tokens: 77 });
    const lines = parseCsv((await get(await link())).text).slice(1);
    expect(lines.map(([id]) => id)).toEqual(calls.map(({ id }) => id).sort());
    expect(lines.filter((line) => line.at(-1) === 'true')).toHaveLength(20);
    expect(store.asked.length).toBeLessThanOrEqual(5);
  });

  it('looks at shorter spans where a statement takes too long, and gives the same file', async () => {
    const link = await open();
    await insertUsage(
      database.db,
      Array.from({ length: 500 }, (_, i) => row(i * 3_600_000)),
    );
    const url = await link();
    const { body } = await get(url);
    const easily = store.asked.length;
    const late = Object.assign(new Error('canceling statement due to statement timeout'), { code: '57014' });
    store.before = ({ after, from, before }) => {
      if (!after && before.getTime() - from.getTime() > 20 * 3_600_000) throw late;
    };
    expect((await get(url)).body.equals(body)).toBe(true);
    expect(store.asked.length - easily).toBeGreaterThan(easily);
    // And gives up where nothing helps.
    store.before = () => {
      throw late;
    };
    const answer = await get(url);
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
  });

  it('does not walk through years in which nothing happened', async () => {
    const link = await open();
    const years = [row(-20 * 365 * 86_400_000), row(-3 * 365 * 86_400_000), row(0)];
    await insertUsage(database.db, years);
    expect(
      parseCsv((await get(await link({ from: new Date('0001-01-01T00:00:00Z') }))).text)
        .slice(1)
        .map(([id]) => id),
    ).toEqual(years.map(({ id }) => id));
    expect(store.asked.length).toBeLessThanOrEqual(6);
  });
});

describe('counting a file', () => {
  it('goes on with the next request where the time was not enough, which is told when to come', async () => {
    const link = await open({ countPartMs: 0 });
    await insertUsage(database.db, [row(1)]);
    const answer = await get(await link(), { range: 'bytes=5-' });
    expect([
      answer.status,
      answer.headers.get('retry-after'),
      JSON.parse(answer.text).errors[0].extensions.code,
    ]).toEqual([503, '1', 'SERVICE_UNAVAILABLE']);
  });

  it('is done once for all who ask for parts of the same file at the same time, and not again afterwards', async () => {
    const link = await open();
    await insertUsage(
      database.db,
      Array.from({ length: 3_000 }, (_, i) => row(i)),
    );
    const url = await link();
    const parts = await Promise.all(['bytes=0-99', 'bytes=100-299', 'bytes=300-'].map((range) => get(url, { range })));
    expect(parts.map(({ status }) => status)).toEqual([206, 206, 206]);
    const counted = store.asked.filter(({ lengthOnly }) => lengthOnly).length;
    expect(Buffer.concat(parts.map(({ body }) => body)).equals((await get(url)).body)).toBe(true);
    expect(store.asked.filter(({ lengthOnly }) => lengthOnly).length).toBe(counted);
    expect(counted).toBeLessThanOrEqual(2);
  });

  it('begins in the middle of a file that it knows, and not at its beginning', async () => {
    const link = await open();
    await insertUsage(
      database.db,
      Array.from({ length: 12_000 }, (_, i) => row(i)),
    );
    const url = await link();
    const { body } = await get(url);
    const before = store.asked.length;
    expect((await get(url, { range: `bytes=${body.length - 10}-` })).body.equals(body.subarray(-10))).toBe(true);
    expect(store.asked.slice(before).map(({ span }) => span.after !== null)).toEqual([true]);
  });
});
