import { Client, type ClientConfig } from 'pg';

type Callback = (error: Error | null, result: unknown) => void;
type Query = (config: unknown, values?: unknown, callback?: Callback) => unknown;

/**
 * A connection on which an answer that does not come in time (`query_timeout`) is the end of the connection. pg itself
 * only fails the statement:
 * whoever had it for a transaction would queue its ROLLBACK behind the statement that hangs, and then hand the
 * connection on to the next one.
 */
export class BoundedClient extends Client {
  constructor(config?: ClientConfig) {
    super(config);
    // The statement that runs fails, or the next one does, and says so to whoever waits for it. An event that nobody
    // listens to would end the process:
    // a pool listens only while it has the connection itself.
    this.on('error', () => undefined);
    const query = super.query.bind(this) as unknown as Query;
    const bounded: Query = (config, values, callback) => {
      const [parameters, answer] = typeof values === 'function' ? [undefined, values as Callback] : [values, callback];
      if (answer) return query(config, parameters, (error, result) => answer(this.checked(error), result));
      const result = query(config, parameters);
      // A query object, such as a cursor, comes back as itself.
      return result instanceof Promise ? result.catch((error: Error) => Promise.reject(this.checked(error))) : result;
    };
    this.query = bounded as Client['query'];
  }

  private checked<E extends Error | null>(error: E): E {
    if (error?.message === 'Query read timeout')
      (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    return error;
  }
}
