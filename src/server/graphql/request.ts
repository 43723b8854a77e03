import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Viewer } from '../../domain/principal';
import type { RequestContext, Services } from '../../resolvers/context';

const SANE_ID = /^[A-Za-z0-9._-]{1,128}$/;
/** The client's request id where it can be logged and echoed as it is, else a new one. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && SANE_ID.test(given) ? given : randomUUID();
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
/** The trace id of a W3C traceparent header: 32 hex digits, or null. */
export function traceIdOf(traceparent: unknown): string | null {
  return typeof traceparent === 'string' ? (TRACEPARENT.exec(traceparent)?.[1] ?? null) : null;
}

/** Scheme and host as the client wrote them, as far as the server believes it: null for what is no host name. */
export function originOf({ protocol, host }: { protocol: string; host: string }): string | null {
  // Nothing that could begin a path or name a user: it becomes a part of links.
  if (!/^https?$/.test(protocol) || !/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(host)) return null;
  const origin = `${protocol}://${host}`;
  return URL.canParse(origin) ? origin : null;
}

/** Aborts when the client leaves before it has its whole answer; is aborted already when it has left. */
export function leavingSignal(response: ServerResponse): AbortSignal {
  const leaving = new AbortController();
  const left = (): void => {
    if (!response.writableFinished) leaving.abort();
  };
  if (response.closed) left();
  else response.once('close', left);
  return leaving.signal;
}

/** What only a request that waits for its answer can give. */
export interface Waiting {
  signal: () => AbortSignal;
  baseUrl: () => string | null;
}

export function contextOf(
  services: Services,
  viewer: Viewer,
  requestId: string,
  traceparentId: string | null,
  waiting?: Waiting,
): RequestContext {
  let signal: AbortSignal | undefined;
  return {
    viewer,
    services,
    door: 'GRAPHQL',
    fieldsAt: 'input',
    requestId,
    traceparentId,
    // Made when it is asked for, which few operations do.
    get signal() {
      return (signal ??= waiting?.signal());
    },
    baseUrl: waiting?.baseUrl,
    loaders: new Map(),
  };
}
