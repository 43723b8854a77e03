import { getOperationAST, GraphQLError, type GraphQLSchema } from 'graphql';
import { AppError } from '../../errors';
import { LruMap } from '../../lib/lru-map';
import type { Viewer } from '../../domain/principal';
import type { RequestContext } from '../../resolvers/context';
import { CACHE, OperationGuard, parseAndValidate, type Parsed } from './guards';
import type { SubscriptionArgs } from './subscription';

export interface SubscriptionRequest {
  query: string;
  operationName?: string | null;
  variables?: Record<string, unknown> | null;
}

/** What the doors for subscriptions, which go past Apollo, make of a request: the same checks as at the HTTP door. */
export class SubscriptionReader {
  private readonly documents = new LruMap<string, Parsed>(CACHE.documents);
  private readonly guard = new OperationGuard();

  constructor(private readonly deps: { schema: GraphQLSchema; production: boolean; isStopping: () => boolean }) {}

  /** What to start, or the errors that refuse it. `context` is asked for when nothing else refuses. */
  read(
    { query, operationName, variables }: SubscriptionRequest,
    viewer: Viewer | null,
    context: (viewer: Viewer) => RequestContext,
  ): SubscriptionArgs | readonly GraphQLError[] {
    const { schema, production, isStopping } = this.deps;
    if (!viewer || hasExpired(viewer)) return [refused(new AppError('UNAUTHENTICATED'))];
    if (isStopping()) return [refused(new AppError('SERVICE_UNAVAILABLE', { public: 'The server is stopping.' }))];
    const { document, errors } = this.documentOf(query);
    if (errors) return errors;
    const operation = getOperationAST(document, operationName);
    if (!operation)
      return [
        new GraphQLError('`operationName` names none of the operations.', {
          extensions: { code: 'OPERATION_RESOLUTION_FAILURE' },
        }),
      ];
    if (operation.operation !== 'subscription') {
      return [
        refused(
          new AppError('BAD_USER_INPUT', {
            public:
              'Only subscriptions go over WebSocket and server-sent events: send queries and mutations by HTTP, and accept application/json.',
          }),
        ),
      ];
    }
    const tooBig = this.guard.check({ schema, document, operation, variables, viewer, production });
    if (tooBig) return [tooBig];
    return {
      schema,
      document,
      operation,
      operationName,
      variableValues: variables,
      contextValue: context(viewer),
      hideSuggestions: production,
    };
  }

  /** Whether it is a subscription that can be read; what is wrong with others is for somebody else to say. */
  isSubscription({ query, operationName }: SubscriptionRequest): boolean {
    // Most requests are not, and only documents with the word in them are looked at.
    if (!query.includes('subscription')) return false;
    const { document } = this.documentOf(query);
    return document !== undefined && getOperationAST(document, operationName)?.operation === 'subscription';
  }

  private documentOf(query: string): Parsed {
    let parsed = this.documents.get(query);
    if (!parsed) {
      parsed = parseAndValidate(this.deps.schema, query, this.deps.production);
      if (query.length <= CACHE.length) this.documents.set(query, parsed);
    }
    return parsed;
  }
}

const hasExpired = ({ expiresAtMs }: Viewer): boolean => expiresAtMs !== null && expiresAtMs <= Date.now();
export const refused = (error: AppError): GraphQLError => new GraphQLError(error.public, { originalError: error });
