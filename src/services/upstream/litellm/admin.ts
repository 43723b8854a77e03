import { Agent, request } from 'undici';
import { AppError } from '../../../errors';
import { readListedRecords, type ListedRecord, type SpendList, type SpendPage } from './spend-list';
import {
  newestStart,
  proxyTime,
  readSpendRecord,
  type CallOwner,
  type SpendRecord,
  type SpendRecords,
} from './spend-record';

export interface LitellmAdminOptions {
  /** Without `/v1`. */
  baseUrl: string;
  masterKey: string;
  /** Milliseconds to the end of an answer. Default 10 s: administration is never worth more. */
  timeoutMs?: number;
}

export interface NewProxyKey {
  /** Chosen by us, so that a repetition after a lost answer makes no second key. */
  key: string;
  alias: string;
  teamId: string;
  metadata: Record<string, string>;
}
export interface ProxyKeyInfo {
  alias: string | null;
  teamId: string | null;
  blocked: boolean;
}

/** An entry of `/v1/models`. */
export interface ProxyModel {
  id: string;
  owned_by?: string;
  mode?: string | null;
  max_input_tokens?: number | null;
  max_output_tokens?: number | null;
}
/** An entry of `/model_group/info`: one per alias. Only what we read is named. */
export interface ProxyModelGroup {
  model_group: string;
  providers?: string[] | null;
  mode?: string | null;
  max_input_tokens?: number | null;
  max_output_tokens?: number | null;
  supports_vision?: boolean | null;
  supports_function_calling?: boolean | null;
  supports_reasoning?: boolean | null;
  supports_web_search?: boolean | null;
  supported_openai_params?: string[] | null;
  [field: string]: unknown;
}
/**
 * What `/router/settings` says of models that answer for others; in the shapes of the proxy's configuration, unread.
 */
export interface ProxyRouting {
  fallbacks?: unknown;
  context_window_fallbacks?: unknown;
  content_policy_fallbacks?: unknown;
  default_fallbacks?: unknown;
  model_group_alias?: unknown;
}
/** An entry of `/v1/model/info`: one per deployment. */
export interface ProxyDeployment {
  model_name: string;
  litellm_params?: Record<string, unknown>;
  model_info?: { id?: string; [field: string]: unknown };
}

/** The proxy answered, and did not do it. */
export class ProxyRefusedError extends AppError {
  constructor(
    readonly status: number,
    internal: string,
  ) {
    super('SERVICE_UNAVAILABLE', { public: PUBLIC, internal });
    this.name = 'ProxyRefusedError';
  }
}
const PUBLIC = 'The model proxy cannot do this right now.';

interface Answer {
  status: number;
  body: Record<string, unknown>;
  /** The proxy's clock, milliseconds; null: not told. */ dateMs: number | null;
  error: { type: string; param: string; message: string };
}

/**
 * Administration of a LiteLLM proxy: the one place that holds the master key. Calls of users never come here. Whatever
 * is not an expected answer is SERVICE_UNAVAILABLE. Every method may be repeated.
 */
export class LitellmAdmin implements SpendRecords, SpendList {
  private readonly agent: Agent;
  private readonly timeoutMs: number;

  constructor(private readonly options: LitellmAdminOptions) {
    this.timeoutMs = options.timeoutMs ?? 10_000;
    this.agent = new Agent({
      connections: 8,
      connect: { timeout: 3_000 },
      headersTimeout: this.timeoutMs,
      bodyTimeout: this.timeoutMs,
    });
  }

  /** false: a team with this id is there already, and was left as it is. */
  async createTeam(teamId: string, models: string[]): Promise<boolean> {
    const answer = await this.post('/team/new', { team_id: teamId, team_alias: teamId, models });
    if (answer.status === 400 && /already exists/i.test(answer.error.message)) return false;
    this.expectOk('/team/new', answer);
    return true;
  }

  /**
   * Changes what all keys of the team may use, at once. false: there is no such team. An empty list would mean all
   * models: refused.
   */
  async updateTeam(teamId: string, models: string[]): Promise<boolean> {
    if (models.length === 0) throw new Error('a team without models may use all of them');
    const answer = await this.post('/team/update', { team_id: teamId, models });
    if (answer.status === 404) return false;
    this.expectOk('/team/update', answer);
    return true;
  }

  /** false: the proxy refused, because the alias or the key is there already. */
  async createKey(key: NewProxyKey): Promise<boolean> {
    // No user_id: a key with one could not change its team without a membership first.
    const answer = await this.post('/key/generate', {
      key: key.key,
      key_alias: key.alias,
      team_id: key.teamId,
      models: ['all-team-models'],
      metadata: key.metadata,
    });
    if (
      answer.status === 400 &&
      (answer.error.param === 'key_alias' || /already exists|unique constraint/i.test(answer.error.message))
    )
      return false;
    this.expectOk('/key/generate', answer);
    return true;
  }

  /** By the key's SHA-256, in hex. null: the proxy does not know it, or no more. */
  async keyInfo(hash: string): Promise<ProxyKeyInfo | null> {
    const path = `/key/info?key=${encodeURIComponent(hash)}`;
    const answer = await this.call('GET', path);
    if (answer.status === 404) return null;
    this.expectOk('/key/info', answer);
    const info = (answer.body.info ?? {}) as Record<string, unknown>;
    // The proxy goes on answering for deleted keys.
    if (info.status === 'deleted') return null;
    return {
      alias: (info.key_alias as string | null) ?? null,
      teamId: (info.team_id as string | null) ?? null,
      blocked: info.blocked === true,
    };
  }

  /** false: there is no such key. */
  async moveKey(hash: string, teamId: string, metadata: Record<string, string>): Promise<boolean> {
    return this.changeKey('/key/update', { key: hash, team_id: teamId, metadata });
  }

  /** false: there is no such key. */
  async blockKey(hash: string, blocked: boolean): Promise<boolean> {
    return this.changeKey(blocked ? '/key/block' : '/key/unblock', { key: hash });
  }

  /** By hash or by alias; one that is not there counts as deleted. */
  async deleteKey(which: { hash: string } | { alias: string }): Promise<void> {
    const answer = await this.post(
      '/key/delete',
      'hash' in which ? { keys: [which.hash] } : { key_aliases: [which.alias] },
    );
    if (answer.status !== 404) this.expectOk('/key/delete', answer);
  }

  async models(): Promise<ProxyModel[]> {
    return this.list<ProxyModel>('/v1/models');
  }

  async modelGroups(): Promise<ProxyModelGroup[]> {
    return this.list<ProxyModelGroup>('/model_group/info');
  }

  async deployments(): Promise<ProxyDeployment[]> {
    return this.list<ProxyDeployment>('/v1/model/info');
  }

  /** Only these fields are taken: the same answer may hold passwords of the proxy. */
  async routing(): Promise<ProxyRouting> {
    const path = '/router/settings';
    const answer = await this.call('GET', path);
    this.expectOk(path, answer);
    const values = answer.body.current_values;
    if (typeof values !== 'object' || values === null)
      throw new ProxyRefusedError(answer.status, `proxy administration: ${path}: the answer has no current values`);
    const { fallbacks, context_window_fallbacks, content_policy_fallbacks, default_fallbacks, model_group_alias } =
      values as ProxyRouting;
    return { fallbacks, context_window_fallbacks, content_policy_fallbacks, default_fallbacks, model_group_alias };
  }

  async spendRecord(callId: string, owner: CallOwner): Promise<SpendRecord | null> {
    return readSpendRecord(await this.recordRows(callId), owner);
  }

  async recordsOf(callId: string): Promise<ListedRecord[]> {
    return readListedRecords(await this.recordRows(callId));
  }

  async spendPage(fromSecond: number, toSecond: number, page: number, size: number): Promise<SpendPage> {
    const span = `start_date=${proxyTime(fromSecond * 1_000)}&end_date=${proxyTime(toSecond * 1_000)}`;
    const answer = await this.call(
      'GET',
      `/spend/logs/v2?${span}&page=${page}&page_size=${size}&sort_by=startTime&sort_order=asc`,
    );
    this.expectOk('/spend/logs/v2', answer);
    const { data, total } = answer.body;
    if (!Array.isArray(data) || typeof total !== 'number')
      throw new ProxyRefusedError(answer.status, 'proxy administration: /spend/logs/v2: the answer has no page');
    return { records: readListedRecords(data), length: data.length, total };
  }

  async newestRecordAgeMs(withinMs: number): Promise<number | null> {
    // An hour to the future, for a proxy whose clock is ahead of ours.
    const [from, to] = [Date.now() - withinMs, Date.now() + 3_600_000];
    const answer = await this.call(
      'GET',
      `/spend/logs/v2?start_date=${proxyTime(from)}&end_date=${proxyTime(to)}&page=1&page_size=1`,
    );
    this.expectOk('/spend/logs/v2', answer);
    const startedMs = newestStart(answer.body);
    return startedMs === null ? null : (answer.dateMs ?? Date.now()) - startedMs;
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async recordRows(callId: string): Promise<unknown[]> {
    const answer = await this.call('GET', `/spend/logs?request_id=${encodeURIComponent(callId)}`);
    this.expectOk('/spend/logs', answer);
    if (!Array.isArray(answer.body))
      throw new ProxyRefusedError(answer.status, 'proxy administration: /spend/logs: the answer is no list');
    return answer.body;
  }

  private async list<T>(path: string): Promise<T[]> {
    const answer = await this.call('GET', path);
    this.expectOk(path, answer);
    if (!Array.isArray(answer.body.data))
      throw new ProxyRefusedError(answer.status, `proxy administration: ${path}: the answer has no list`);
    return answer.body.data as T[];
  }

  private async changeKey(path: string, body: unknown): Promise<boolean> {
    const answer = await this.post(path, body);
    if (answer.status === 404) return false;
    this.expectOk(path, answer);
    return true;
  }

  private post(path: string, body: unknown): Promise<Answer> {
    return this.call('POST', path, body);
  }

  private async call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> {
    try {
      const response = await request(`${this.options.baseUrl}${path}`, {
        method,
        dispatcher: this.agent,
        signal: AbortSignal.timeout(this.timeoutMs),
        headers: {
          authorization: `Bearer ${this.options.masterKey}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return readAnswer(response.statusCode, String(response.headers.date ?? ''), await response.body.text());
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new AppError('SERVICE_UNAVAILABLE', {
        public: PUBLIC,
        internal: `proxy administration: ${method} ${path.split('?')[0]}: ${why}`,
        cause: error,
      });
    }
  }

  private expectOk(path: string, answer: Answer): void {
    if (answer.status >= 200 && answer.status < 300) return;
    throw new ProxyRefusedError(
      answer.status,
      `proxy administration: ${path} answered ${answer.status}: ${answer.error.type || 'no type'}: ${answer.error.message}`,
    );
  }
}

function readAnswer(status: number, date: string, text: string): Answer {
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Record<string, unknown>;
  } catch {
    // HTML of something in between: the status says enough.
  }
  const error = (typeof body.error === 'object' && body.error ? body.error : {}) as Record<string, unknown>;
  const message = error.message ?? (body.detail as { error?: unknown } | undefined)?.error ?? body.detail ?? '';
  return {
    status,
    body,
    dateMs: Date.parse(date) || null,
    error: {
      type: String(error.type ?? ''),
      param: String(error.param ?? ''),
      message: withoutKeys(typeof message === 'string' ? message : JSON.stringify(message)),
    },
  };
}

/** The proxy repeats keys in some of its messages. */
const withoutKeys = (text: string): string => text.slice(0, 500).replace(/sk-[\w-]{4,}/g, 'sk-…');
