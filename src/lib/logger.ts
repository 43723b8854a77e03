import pino from 'pino';
import { createRedactor, type Redactor } from './redact';

/** Fields first, then what happened, in plain words without values. Errors go under `err`. */
type Log = (fields: object, message: string) => void;

export interface Logger {
  debug: Log;
  info: Log;
  warn: Log;
  error: Log;
  /** A logger that adds these fields to every line. */
  child(fields: object): Logger;
}
export interface RootLogger extends Logger {
  /** Resolves when every line so far is written. To be called last, at shutdown. */
  flush(): Promise<void>;
}
export interface LoggerOptions {
  /** debug, info, warn, error or silent. */
  level: string;
  /**
   * Lines are collected and written in the background: for production. At a crash up to a quarter of a second of them
   * is lost.
   */
  async?: boolean;
  redactor?: Redactor;
  /** Instead of standard output: receives whole lines. */
  write?: (line: string) => void;
}

/** Longer lines are cut: an 8 MB prompt in some error's message may not fill the disk. */
const MAX_LINE = 32 * 1024;
const MAX_TEXT = 4 * 1024;
const MAX_CAUSES = 5;

/**
 * One JSON line per entry. Secrets are removed from the finished line, whatever field they came in: nobody can forget a
 * path.
 * pino escapes control characters, so that a line stays one line.
 */
export function createLogger(options: LoggerOptions): RootLogger {
  const redactor = options.redactor ?? createRedactor();
  const file = options.write
    ? null
    : pino.destination(
        options.async ? { dest: 1, sync: false, minLength: 4096, periodicFlush: 250 } : { dest: 1, sync: true },
      );
  const write = options.write ?? ((line: string) => void file!.write(line));
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError, error: describeError, cause: describeError },
    },
    { write: (line: string) => write(redactor.text(line.length > MAX_LINE ? shorten(line) : line)) },
  );
  return Object.assign(wrap(logger), {
    flush: () =>
      new Promise<void>((resolve) => {
        if (!file || !options.async) return resolve();
        file.flush(() => resolve());
      }),
  });
}

const wrap = (logger: pino.Logger): Logger => ({
  debug: (fields, message) => logger.debug(fields, message),
  info: (fields, message) => logger.info(fields, message),
  warn: (fields, message) => logger.warn(fields, message),
  error: (fields, message) => logger.error(fields, message),
  child: (fields) => wrap(logger.child(fields)),
});

/**
 * What a log keeps of an error: type, code, message, stack, and the same of its causes. Other properties may hold
 * requests with headers, so they are left out.
 */
export function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? cut(error) : error;
  const { code, originalError } = error as { code?: unknown; originalError?: unknown };
  const cause = error.cause ?? originalError ?? (error instanceof AggregateError ? error.errors[0] : undefined);
  return {
    type: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: cut(error.message),
    // The stack begins with the message: only its frames are of use.
    stack: cut(frames(error)),
    ...(cause !== undefined && cause !== error && depth < MAX_CAUSES ? { cause: describeError(cause, depth + 1) } : {}),
  };
}

const cut = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length} characters)` : text;

function frames(error: Error): string {
  const stack = String(error.stack ?? '');
  const first = stack.indexOf('\n    at ');
  return first < 0 ? '' : stack.slice(first + 1);
}

function shorten(line: string): string {
  const { time, level, msg, requestId, callId } = JSON.parse(line) as Record<string, unknown>;
  return `${JSON.stringify({ level, time, requestId, callId, msg: cut(String(msg)), cutFrom: line.length })}\n`;
}

/** For tests and scripts that want no log. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
