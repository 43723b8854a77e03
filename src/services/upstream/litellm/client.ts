import { Agent, request as undiciRequest, type Dispatcher } from 'undici';
import { readAnswer } from './read-answer';
import { litellmHead, litellmRequestHeaders } from './headers';
import { mapHttpError } from './errors';
import { SseReader } from './sse-reader';
import type { ModelUpstream, UpstreamHead, UpstreamRequest, UpstreamSink } from '../upstream';
import { Watchdog } from './watchdog';
import { mapNetworkError, UpstreamError } from '../errors';

export interface UpstreamOptions {
  kind: 'LITELLM' | 'DIRECT';
  /** With `/v1`. */
  baseUrl: string;
  timeouts: { connectMs: number; firstByteMs: number; idleMs: number };
  /** Bytes of one whole answer, or of one event of a stream. */
  maxAnswerBytes?: number;
}

/**
 * Calls to models of a LiteLLM proxy or of any OpenAI-compatible server, through undici: the SDK's fetch path costs
 * five times the CPU and
 * 77 ms of added first token at 1000 streams. Nothing is retried here: the proxy's router does that. Deadlines: to
 * connect, to the first byte, between chunks; the whole is the caller's signal.
 */
export class CompletionClient implements ModelUpstream {
  readonly kind: 'LITELLM' | 'DIRECT';
  private readonly agent: Agent;
  private readonly maxBytes: number;

  constructor(private readonly options: UpstreamOptions) {
    this.kind = options.kind;
    this.maxBytes = options.maxAnswerBytes ?? 32 * 1024 * 1024;
    // undici's own timers are coarse; the watchdog below is exact.
    this.agent = new Agent({
      connect: { timeout: options.timeouts.connectMs },
      headersTimeout: 0,
      bodyTimeout: 0,
      connections: null,
      pipelining: 1,
      keepAliveTimeout: 30_000,
    });
  }

  async run(request: UpstreamRequest, sink: UpstreamSink): Promise<void> {
    if (request.signal.aborted) throw new UpstreamError('ABORTED', 'stopped before the call');
    const abort = new AbortController();
    const watchdog = new Watchdog((waitedMs) =>
      abort.abort(new UpstreamError('TIMEOUT', `nothing from the upstream for ${waitedMs} ms`, { retryable: true })),
    );
    const onAbort = (): void => abort.abort(new UpstreamError('ABORTED', 'stopped'));
    request.signal.addEventListener('abort', onAbort, { once: true });
    let begun = false;
    try {
      watchdog.expectWithin(this.options.timeouts.firstByteMs);
      sink.asked();
      const response = await undiciRequest(`${this.options.baseUrl}${request.path}`, {
        method: 'POST',
        dispatcher: this.agent,
        signal: abort.signal,
        headers: {
          'content-type': 'application/json',
          accept: request.body.stream ? 'text/event-stream' : 'application/json',
          ...(request.apiKey ? { authorization: `Bearer ${request.apiKey}` } : {}),
          ...(this.kind === 'LITELLM' ? litellmRequestHeaders(request) : {}),
        },
        body: JSON.stringify(request.body),
      });
      if (response.statusCode < 200 || response.statusCode > 299) throw await this.httpError(response);
      begun = true;
      sink.head(this.headOf(response.headers));
      const onBytes = (): void => watchdog.expectWithin(this.options.timeouts.idleMs);
      if (request.body.stream)
        await new SseReader({
          kind: this.kind,
          maxEventBytes: this.maxBytes,
          sink,
          signal: abort.signal,
          onBytes,
          onPause: () => watchdog.stop(),
        }).read(response.body);
      else await readAnswer(this.kind, response.body, this.maxBytes, sink, onBytes);
    } catch (error) {
      throw abort.signal.aborted ? (abort.signal.reason as UpstreamError) : mapNetworkError(error, begun);
    } finally {
      watchdog.stop();
      request.signal.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private headOf(headers: Dispatcher.ResponseData['headers']): UpstreamHead {
    if (this.kind === 'LITELLM') return litellmHead(headers);
    return { servedModel: null, deployment: null, attempts: 1, cost: null, fromCache: false };
  }

  private async httpError(response: Dispatcher.ResponseData): Promise<UpstreamError> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      // An error text longer than this says nothing more.
      if ((size += chunk.length) > 64 * 1024) break;
    }
    return mapHttpError(response.statusCode, response.headers, Buffer.concat(chunks).toString());
  }
}
