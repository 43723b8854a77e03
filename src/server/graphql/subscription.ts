import {
  createSourceEventStream,
  execute,
  getVariableValues,
  GraphQLError,
  type DocumentNode,
  type ExecutionResult,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import type { RequestContext } from '../../resolvers/context';
import { variableErrors } from './format-error';
import { EventProjector } from './project-event';

/**
 * The results of one subscription: each event of the source, mapped. A class and no async generator: `return()` has to
 * reach the source at once, also while `next()` waits on a silent model, and the server has to be able to end it from
 * outside.
 */
export class ResultStream implements AsyncIterableIterator<ExecutionResult> {
  private waiting: { resolve(result: IteratorResult<ExecutionResult>): void; reject(error: unknown): void } | null =
    null;
  private over: { error: unknown } | null = null;

  constructor(
    private readonly source: AsyncIterator<unknown>,
    private readonly map: (event: unknown) => ExecutionResult | Promise<ExecutionResult>,
  ) {}

  next(): Promise<IteratorResult<ExecutionResult>> {
    if (this.over) return this.end();
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.source.next().then(
        (result) => (result.done ? this.finish() : this.give(result.value)),
        (error: unknown) => this.finish(error),
      );
    });
  }

  return(): Promise<IteratorResult<ExecutionResult>> {
    this.leave(null);
    return Promise.resolve({ value: undefined, done: true });
  }

  throw(error: unknown): Promise<IteratorResult<ExecutionResult>> {
    this.leave(null);
    return Promise.reject(error);
  }

  /** Ends the operation from the server's side: the client gets the error, the source loses its viewer at once. */
  terminate(error: unknown): void {
    this.leave(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private give(event: unknown): void {
    if (this.over) return;
    let result: ExecutionResult | Promise<ExecutionResult>;
    try {
      result = this.map(event);
    } catch (error) {
      return this.leave(error);
    }
    if (!(result instanceof Promise)) return this.settle(result);
    result.then(
      (value) => this.settle(value),
      (error: unknown) => this.leave(error),
    );
  }

  private settle(value: ExecutionResult): void {
    const waiting = this.waiting;
    this.waiting = null;
    waiting?.resolve({ value, done: false });
  }

  /** The source has ended by itself. */
  private finish(error: unknown = null): void {
    if (this.over) return;
    this.over = { error };
    this.settleEnd();
  }

  /** Nobody wants more. */
  private leave(error: unknown): void {
    if (this.over) return;
    this.over = { error };
    // Before anything else: the upstream is closed by this.
    Promise.resolve(this.source.return?.()).catch(() => undefined);
    this.settleEnd();
  }

  private settleEnd(): void {
    const waiting = this.waiting;
    this.waiting = null;
    if (!waiting) return;
    this.end().then(waiting.resolve, waiting.reject);
  }

  private end(): Promise<IteratorResult<ExecutionResult>> {
    const error = this.over?.error ?? null;
    if (error === null) return Promise.resolve({ value: undefined, done: true });
    // Told once.
    this.over = { error: null };
    return Promise.reject(error);
  }
}

export interface SubscriptionArgs {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  operationName: string | null | undefined;
  variableValues: Record<string, unknown> | null | undefined;
  contextValue: RequestContext;
  hideSuggestions: boolean;
}

/** Starts a subscription: its results, or the errors that kept it from starting. Never throws. */
export async function startSubscription(
  args: SubscriptionArgs,
): Promise<ResultStream | { errors: readonly GraphQLError[] }> {
  const { schema, document, operation, operationName, variableValues, contextValue, hideSuggestions } = args;
  try {
    const variables = getVariableValues(schema, operation.variableDefinitions ?? [], variableValues ?? {}, {
      maxErrors: 5,
      hideSuggestions,
    });
    if (variables.errors) return { errors: variableErrors(variables.errors) };
    const common = {
      schema,
      document,
      operationName,
      variableValues,
      contextValue: { ...contextValue, loaders: new Map<string, unknown>() },
    };
    const source = await createSourceEventStream(common);
    if (!(Symbol.asyncIterator in source)) return { errors: source.errors ?? [] };
    const projector = new EventProjector({ schema, document, operation, variables: variables.coerced });
    return new ResultStream(
      source[Symbol.asyncIterator](),
      (event) =>
        // Each event has loaders of its own: a terminal event may not show what was loaded when the stream began.
        projector.project(event) ??
        execute({
          ...common,
          contextValue: { ...contextValue, loaders: new Map<string, unknown>() },
          rootValue: event,
        }),
    );
  } catch (error) {
    return {
      errors: [
        error instanceof GraphQLError
          ? error
          : new GraphQLError('subscribe failed', {
              originalError: error instanceof Error ? error : new Error(String(error)),
            }),
      ],
    };
  }
}
