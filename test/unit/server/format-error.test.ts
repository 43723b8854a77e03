import { GraphQLError } from 'graphql';
import { AppError } from '../../../src/errors';
import { formatError } from '../../../src/server/graphql/format-error';
import { memoryLogger } from '../../support/log';

const located = (originalError: Error): GraphQLError =>
  new GraphQLError(originalError.message, { originalError, path: ['a', 0, 'b'] });
const withCode = (code: string, message = 'x'): Error => Object.assign(new Error(message), { code });

describe('an error as the client sees it', () => {
  const logger = memoryLogger();
  const scope = { logger, requestId: 'r' };
  beforeEach(() => void logger.lines.splice(0));

  it.each([
    withCode('ECONNREFUSED'),
    withCode('57P01'),
    withCode('57P03'),
    withCode('08006'),
    withCode('53300'),
    withCode('57014'),
    withCode('40P01'),
    withCode('25006'),
    new Error('timeout exceeded when trying to connect'),
    new Error('Connection terminated unexpectedly'),
    new Error('Connection terminated due to connection timeout'),
    new AggregateError([withCode('ECONNREFUSED')], ''),
    new Error('query failed', { cause: withCode('57P01') }),
    Object.assign(new Error('query failed'), { driverError: withCode('08003') }),
  ])('says "not now" for a database that is away: %p', (error) => {
    expect(formatError(located(error), scope)).toEqual({
      message: 'The service cannot do this right now.',
      path: ['a', 0, 'b'],
      extensions: { code: 'SERVICE_UNAVAILABLE', retryAfterMs: 2_000, requestId: 'r' },
    });
    expect(logger.lines).toMatchObject([{ level: 'warn', fields: { requestId: 'r', path: 'a.0.b' } }]);
  });

  it.each([
    new Error('secret'),
    withCode('23505', 'duplicate key value'),
    new TypeError('x of undefined'),
    'text',
    undefined,
    null,
    5,
    { message: 'secret' },
    Object.create(null),
  ])('hides what was not written for clients, and logs it: %p', (error) => {
    const formatted = formatError(error instanceof Error ? located(error) : error, scope);
    expect(formatted).toMatchObject({
      message: 'Something went wrong on our side.',
      extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'r' },
    });
    expect(JSON.stringify(formatted)).not.toContain('secret');
    expect(logger.lines).toMatchObject([{ level: 'error', fields: { requestId: 'r' } }]);
  });

  it('gives the public text of our own errors, never the internal one or the cause', () => {
    const error = new AppError('FORBIDDEN', { public: 'for clients', internal: 'for us', cause: new Error('deeper') });
    expect(formatError(located(error), scope)).toEqual({
      message: 'for clients',
      path: ['a', 0, 'b'],
      extensions: { code: 'FORBIDDEN' },
    });
    expect(formatError(located(new GraphQLError('wrapped twice', { originalError: error })), scope)).toMatchObject({
      extensions: { code: 'FORBIDDEN' },
    });
  });

  it('a character that cannot be stored is the mistake of the client', () => {
    expect(formatError(located(withCode('22021')), scope)).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
  });

  it('does not believe foreign codes, extensions or stacks', () => {
    const error = new GraphQLError('from a library', {
      extensions: { code: 'SOMETHING', secret: 'hidden', stacktrace: ['at'] },
    });
    expect(formatError(error, scope)).toEqual({
      message: 'Something went wrong on our side.',
      extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'r' },
    });
  });

  it('removes keys that a client has put where they do not belong', () => {
    const error = new GraphQLError('Variable "$a" got invalid value "sk-canary1234567"', {
      extensions: { code: 'BAD_USER_INPUT' },
    });
    expect(formatError(error, scope).message).toBe('Variable "$a" got invalid value "[redacted]"');
  });

  it('never throws, whatever it is given', () => {
    const hostile = new Proxy(new Error('x'), {
      get: () => {
        throw new Error('trap');
      },
    });
    expect(formatError(hostile, scope)).toMatchObject({ extensions: { code: 'INTERNAL_SERVER_ERROR' } });
    expect(
      formatError(new Error('x'), {
        logger: {
          ...logger,
          error: () => {
            throw new Error('disk full');
          },
        },
      }),
    ).toMatchObject({ extensions: { code: 'INTERNAL_SERVER_ERROR' } });
  });
});
