import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../lib/logger';
import { type Door, OpenCounter } from '../door';
import { formatError } from '../graphql/format-error';
import { contextOf, traceIdOf } from '../graphql/request';
import { EventResponse } from './response';
import { startSubscription } from '../graphql/subscription';
import type { SubscriptionReader, SubscriptionRequest } from '../graphql/subscription-reader';
import type { Services } from '../../resolvers/context';

export interface EventsDeps {
  services: Services;
  logger: Logger;
  reader: SubscriptionReader;
  /** Who takes nothing for so long is closed. Milliseconds. */
  silentMs: number;
}
export interface EventsDoor extends Door {
  /**
   * The request is an operation of this door and has been answered, or will be; false: it is for Apollo. Throws
   * RATE_LIMITED.
   */
  take(request: FastifyRequest, reply: FastifyReply): boolean;
}

/** Open operations of one token; each has a connection of its own. As many as WebSockets. */
const MAX_OPERATIONS_PER_TOKEN = 100;
/**
 * Who has taken nothing is looked for so often within the time that is given. As often something is said, so that no
 * proxy takes the connection for idle.
 */
const LOOKS = 5;

/**
 * The door for clients without WebSocket: server-sent events, one operation on each response (graphql-sse, distinct
 * connections mode). Subscriptions only.
 */
export function openEventsDoor({ services, logger, reader, silentMs }: EventsDeps): EventsDoor {
  const responses = new Set<EventResponse>();
  const counter = new OpenCounter(MAX_OPERATIONS_PER_TOKEN, 'operations over server-sent events');

  const looker = setInterval(() => {
    for (const response of responses) response.look(LOOKS);
  }, silentMs / LOOKS);
  looker.unref();

  return {
    take(request, reply) {
      const accepted = acceptsEvents(request);
      const asked = accepted && requestOf(request);
      if (!asked || (accepted === 'TOO' && !reader.isSubscription(asked))) return false;
      const viewer = request.viewer!;
      const leave = counter.enter(viewer);
      reply.hijack();
      const format = (errors: readonly unknown[]) =>
        errors.map((error) => formatError(error, { logger, requestId: request.id }));
      const response = new EventResponse(reply.raw, viewer, format);
      responses.add(response);
      const args = reader.read(asked, viewer, (known) =>
        contextOf(services, known, request.id, traceIdOf(request.headers.traceparent)),
      );
      response
        .run(reply.getHeaders() as OutgoingHttpHeaders, async () =>
          'schema' in args ? startSubscription(args) : { errors: args },
        )
        .catch((error: unknown) => {
          logger.error({ err: error, requestId: request.id }, 'an operation over server-sent events failed');
          reply.raw.destroy();
        })
        .finally(() => {
          responses.delete(response);
          leave();
        });
      return true;
    },
    principals: () => [...responses].flatMap(({ viewer }) => viewer ?? []),
    endPrincipals(match, reason, graceMs) {
      for (const response of responses)
        if (response.viewer && match(response.viewer)) response.endAuthentication(reason, graceMs);
    },
    async close() {
      clearInterval(looker);
      await Promise.all([...responses].map((response) => response.goAway()));
    },
  };
}

/**
 * Whether the client takes events and nothing else, or also what Apollo answers. By POST only: `EventSource`, which
 * asks by GET, cannot send a token.
 */
function acceptsEvents({ method, headers }: FastifyRequest): 'ONLY' | 'TOO' | null {
  if (method !== 'POST' || !headers.accept?.includes('text/event-stream')) return null;
  const types = headers.accept.split(',').map((part) => part.split(';', 1)[0]!.trim().toLowerCase());
  if (!types.includes('text/event-stream')) return null;
  return types.some((type) => type === '*/*' || type.startsWith('application/')) ? 'TOO' : 'ONLY';
}

/** null: the body is not a request of GraphQL, which Apollo words. */
function requestOf({ body }: FastifyRequest): SubscriptionRequest | null {
  const { query, operationName, variables } = (body ?? {}) as Partial<Record<keyof SubscriptionRequest, unknown>>;
  if (typeof query !== 'string') return null;
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return null;
  if (variables !== undefined && (typeof variables !== 'object' || Array.isArray(variables))) return null;
  return { query, operationName, variables: variables as SubscriptionRequest['variables'] };
}
