import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { spendPage, spendRow, spendRowsOf, type StandInRecord } from './spend-records';

export interface StandInKey {
  key: string;
  alias: string;
  teamId: string;
  models: string[];
  metadata: Record<string, string>;
  blocked: boolean;
}

type Body = Record<string, unknown>;
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {
    super(String(status));
  }
}
const proxyError = (status: number, type: string, message: string, param = 'None'): Refusal =>
  new Refusal(status, { error: { message, type, param, code: String(status) } });
const hashOf = (key: string): string => (key.startsWith('sk-') ? createHash('sha256').update(key).digest('hex') : key);

/** Speaks the administration of a LiteLLM proxy as version 1.108.7 was seen to speak it, with its state in memory. */
export class LitellmStandIn {
  readonly masterKey = 'sk-master-of-the-test';
  /** By hash, as the proxy keeps them. */
  readonly keys = new Map<string, StandInKey>();
  readonly deleted = new Set<string>();
  readonly teams = new Map<string, string[]>();
  /** Rows of calls, as `record` makes them. */
  readonly spendRows: Record<string, unknown>[] = [];
  /** `POST /key/generate` and so on, in order. */
  readonly requests: string[] = [];
  /** Cuts every connection without an answer. */
  away = false;
  /** Does the next requests of this path, and cuts the connection instead of answering. */
  loseAnswerOf: string | null = null;
  /** Called before a request is done: a test may hold it up. */
  before: (path: string) => Promise<void> | void = () => {};
  private constructor(
    private readonly server: http.Server,
    readonly baseUrl: string,
  ) {}

  static async start(): Promise<LitellmStandIn> {
    const server = http.createServer((request, response) => void standIn.answer(request, response));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const standIn: LitellmStandIn = new LitellmStandIn(
      server,
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    );
    return standIn;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  count(path: string): number {
    return this.requests.filter((request) => request === path).length;
  }

  record(...records: StandInRecord[]): void {
    this.spendRows.push(...records.map(spendRow));
  }

  /** As after the loss of its database. */
  forgetEverything(): void {
    this.keys.clear();
    this.teams.clear();
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.baseUrl);
    const path = `${request.method} ${url.pathname}`;
    this.requests.push(path);
    let text = '';
    for await (const chunk of request) text += String(chunk);
    await this.before(url.pathname);
    if (this.away) return void request.socket.destroy();
    let status = 200;
    let body: unknown;
    try {
      if (request.headers.authorization !== `Bearer ${this.masterKey}`)
        throw proxyError(401, 'auth_error', 'Authentication Error, Only proxy admin can be used');
      body = this.handle(path, text ? (JSON.parse(text) as Body) : Object.fromEntries(url.searchParams));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      ({ status, body } = error);
    }
    if (this.loseAnswerOf === url.pathname) return void request.socket.destroy();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  private handle(path: string, body: Body): unknown {
    switch (path) {
      case 'POST /team/new':
        if (this.teams.has(body.team_id as string))
          throw new Refusal(400, {
            detail: { error: `Team id = ${body.team_id} already exists. Please use a different team id.` },
          });
        this.teams.set(body.team_id as string, body.models as string[]);
        return { team_id: body.team_id };
      case 'POST /team/update':
        if (!this.teams.has(body.team_id as string))
          throw new Refusal(404, { detail: { error: `Team not found, passed team_id=${body.team_id}` } });
        this.teams.set(body.team_id as string, body.models as string[]);
        return { team_id: body.team_id };
      case 'POST /key/generate':
        return this.generate(body);
      case 'GET /key/info': {
        const hash = hashOf(body.key as string);
        if (this.deleted.has(hash) && !this.keys.has(hash))
          return { key: hash, info: { status: 'deleted', blocked: null } };
        const key = this.find(hash);
        return {
          key: body.key,
          info: {
            key_alias: key.alias,
            team_id: key.teamId,
            models: key.models,
            metadata: key.metadata,
            blocked: key.blocked || null,
            status: 'active',
          },
        };
      }
      case 'POST /key/update': {
        const key = this.find(hashOf(body.key as string));
        if (!this.teams.has(body.team_id as string))
          throw new Refusal(404, { detail: { error: "Team doesn't exist in db" } });
        Object.assign(key, { teamId: body.team_id, metadata: body.metadata ?? key.metadata });
        return {};
      }
      case 'POST /key/block':
      case 'POST /key/unblock':
        this.find(hashOf(body.key as string)).blocked = path.endsWith('/block');
        return {};
      case 'POST /key/delete': {
        const hashes = body.keys
          ? (body.keys as string[]).map(hashOf)
          : [...this.keys]
              .filter(([, key]) => (body.key_aliases as string[]).includes(key.alias))
              .map(([hash]) => hash);
        if (!hashes.some((hash) => this.keys.delete(hash)))
          throw proxyError(404, 'not_found_error', 'No keys found', 'keys');
        for (const hash of hashes) this.deleted.add(hash);
        return { deleted_keys: hashes };
      }
      case 'GET /spend/logs/v2': {
        const page = spendPage(this.spendRows, body);
        if (!page)
          throw new Refusal(422, {
            detail: [{ loc: ['query', 'page_size'], msg: 'Input should be less than or equal to 1000' }],
          });
        return page;
      }
      case 'GET /spend/logs':
        return spendRowsOf(this.spendRows, body.request_id);
      default:
        throw new Refusal(404, { detail: 'Not Found' });
    }
  }

  private generate(body: Body): unknown {
    const {
      key,
      key_alias: alias,
      team_id: teamId,
      models,
      metadata,
    } = body as { key: string; key_alias: string; team_id: string; models: string[]; metadata: Record<string, string> };
    if ([...this.keys.values()].some((other) => other.alias === alias))
      throw proxyError(
        400,
        'bad_request_error',
        `Key with alias '${alias}' already exists. Unique key aliases across all keys are required.`,
        'key_alias',
      );
    // A team that is not there is not looked for: calls with such a key are refused.
    this.keys.set(hashOf(key), { key, alias, teamId, models, metadata, blocked: false });
    return { key, token: hashOf(key) };
  }

  private find(hash: string): StandInKey {
    const key = this.keys.get(hash);
    if (!key) throw proxyError(404, 'not_found_error', 'Key not found.', 'key');
    return key;
  }
}
