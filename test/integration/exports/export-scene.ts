import { randomBytes } from 'node:crypto';
import type { UsageFilter } from '../../../src/services/usage/usage.types';
import { startTestApp, type TestApp } from '../../support/app';
import { createTestDatabase, setClock, type TestDatabase } from '../../support/database';
import { createWorld, type TestUser, type World } from '../../support/factories';
import type { GraphqlReply } from '../../support/graphql-client';
import { operation } from '../../support/operations';
import { startProvider, type FakeProvider } from '../../support/provider';
import { insertUsage, usageRow, type UsageRow } from '../usage/usage-rows';

const EXPORT_USAGE = operation('export-usage');

export interface Fetched {
  status: number;
  headers: Headers;
  body: Buffer;
  text: string;
}

/** Two replicas on one database, and two organisations. */
export class ExportScene {
  private constructor(
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    readonly app: TestApp,
    readonly other: TestApp,
    public ours: World,
    public theirs: World,
  ) {}

  static async open(): Promise<ExportScene> {
    const database = await createTestDatabase();
    const provider = await startProvider();
    // Replicas share the secret.
    const config = { secretKey: randomBytes(32).toString('base64'), trustedProxies: ['127.0.0.1'] };
    const app = await startTestApp({ database, upstream: provider, config });
    const other = await startTestApp({ database, upstream: provider, config });
    return new ExportScene(
      database,
      provider,
      app,
      other,
      await createWorld(database.db, { name: 'Ours' }),
      await createWorld(database.db, { name: 'Theirs' }),
    );
  }

  /** Two organisations in which nothing has happened yet, at the time that it is. */
  async renew(): Promise<void> {
    const { db } = this.database;
    await setClock(db, null);
    await db.query(`UPDATE usage_retention SET dropped_before = '-infinity'`);
    this.ours = await createWorld(db, { name: 'Ours' });
    this.theirs = await createWorld(db, { name: 'Theirs' });
    this.app.log.length = 0;
  }

  async close(): Promise<void> {
    await this.app.stop();
    await this.other.stop();
    await this.provider.close();
    await this.database.close();
  }

  /** A settled call of our member. */
  row(fields: Partial<UsageRow> = {}): UsageRow {
    return usageRow({
      organization_id: this.ours.organizationId,
      user_id: this.ours.member.id,
      occurred_at: '2026-11-20T10:00:00.000001Z',
      ...fields,
    });
  }

  async settle(...rows: UsageRow[]): Promise<UsageRow[]> {
    await insertUsage(this.database.db, rows);
    return rows;
  }

  /** Calls one second apart, with texts of many lengths. */
  async settleMany(count: number, beginning = '2026-10-01T00:00:00Z'): Promise<void> {
    const from = Date.parse(beginning);
    const rows = Array.from({ length: count }, (_, i) =>
      this.row({
        occurred_at: new Date(from + i * 1_000).toISOString(),
        agent: i % 7 === 0 ? `agent "${'é'.repeat(i % 50)}"` : null,
        model: `model-${i % 3}`,
        uncached_prompt_tokens: i,
        cost: i % 11 === 0 ? null : '0.001',
      }),
    );
    await insertUsage(this.database.db, rows);
  }

  ask(
    user: TestUser,
    filter: UsageFilter | null = null,
    pricesAsOf: Date | null = null,
    headers: Record<string, string> = {},
  ): Promise<GraphqlReply<any>> {
    return this.app.graphql(user.token, EXPORT_USAGE, { filter, pricesAsOf }, { headers });
  }

  /** Where the file is. */
  async link(user: TestUser, filter: UsageFilter | null = null, pricesAsOf: Date | null = null): Promise<string> {
    const { data, errors } = await this.ask(user, filter, pricesAsOf);
    if (!data) throw new Error(JSON.stringify(errors));
    return data.exportUsage.url;
  }

  /** The same file at the other replica. */
  elsewhere(url: string): string {
    return url.replace(new URL(this.app.url).host, new URL(this.other.url).host);
  }

  async file(
    user: TestUser,
    filter: UsageFilter | null = null,
    pricesAsOf: Date | null = null,
  ): Promise<Record<string, string>[]> {
    const fetched = await get(await this.link(user, filter, pricesAsOf));
    if (fetched.status !== 200) throw new Error(fetched.text);
    return records(fetched.text);
  }
}

export async function get(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Fetched> {
  const response = await fetch(url, { method, headers });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body, text: body.toString('utf8') };
}

/** RFC 4180, and nothing else: throws for everything that it does not allow. */
export function parseCsv(text: string): string[][] {
  const lines: string[][] = [[]];
  const cell = /"((?:[^"]|"")*)"|[^",\r\n]*/y;
  for (let at = 0; at < text.length;) {
    cell.lastIndex = at;
    const [raw, quoted] = cell.exec(text)!;
    lines.at(-1)!.push(quoted === undefined ? raw : quoted.replaceAll('""', '"'));
    at += raw.length;
    if (text[at] === ',') at += 1;
    else if (text.startsWith('\r\n', at)) {
      at += 2;
      if (at < text.length) lines.push([]);
    } else
      throw new Error(`neither a comma nor a line's end at ${at}: ${JSON.stringify(text.slice(at - 20, at + 20))}`);
  }
  return lines;
}

/** The lines behind the first by its names. */
export function records(text: string): Record<string, string>[] {
  const [names, ...lines] = parseCsv(text);
  return lines.map((cells) => {
    if (cells.length !== names!.length) throw new Error(`a line of ${cells.length} cells: ${cells.join('|')}`);
    return Object.fromEntries(cells.map((value, i) => [names![i], value]));
  });
}
