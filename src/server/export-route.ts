import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../errors';
import type { Logger } from '../lib/logger';
import { ExportLinkError } from '../services/exports/export-file';
import { EXPORT_PATH } from '../services/exports/export-link';
import { rangeOf, type ExportDownload } from '../services/exports/export.types';
import { formatError, statusOf, toAppError } from './graphql/format-error';
import type { Services } from '../resolvers/context';

interface ExportRouteDeps {
  services: Pick<Services, 'exports'>;
  logger: Logger;
  isStopping: () => boolean;
}

/** A client that takes nothing for so long has gone without saying so. Milliseconds. */
const STALLED_MS = 120_000;
/** Bytes that are made ahead of the client: any at all, and that is the page after the one that is being sent. */
const AHEAD = 1;
const STATUS: Record<ExportLinkError['reason'], number> = { UNKNOWN: 404, EXPIRED: 410, CHANGED: 410, FORBIDDEN: 403 };

/**
 * The files that `exportUsage` gives links to. The link is the credential: it is in no log, no cache and no Referer.
 * Whoever stops reading stops the making; a part that is asked for by `Range` has the same bytes as the whole file,
 * from whichever replica.
 */
export function addExports(app: FastifyInstance, deps: ExportRouteDeps): void {
  // A parameter may have no more than 200 characters, the rest of a path may.
  app.route({
    method: ['GET', 'HEAD'],
    url: `${EXPORT_PATH}/*`,
    handler: (request, reply) => answer(deps, request, reply),
  });
}

async function answer(
  { services, logger, isStopping }: ExportRouteDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  reply
    .header('cache-control', 'private, no-store')
    .header('referrer-policy', 'no-referrer')
    .header('x-robots-tag', 'noindex');
  const leaving = new AbortController();
  reply.raw.once('close', () => leaving.abort());
  const isGet = request.method === 'GET';
  let download: ExportDownload | null = null;
  try {
    if (isStopping()) throw new AppError('SERVICE_UNAVAILABLE', { public: 'The server is stopping.' });
    download = await services.exports.open((request.params as { '*': string })['*'], {
      // Only a GET has parts.
      range: isGet ? rangeOf(request.headers.range) : null,
      ifRange: typeof request.headers['if-range'] === 'string' ? request.headers['if-range'] : null,
      signal: leaving.signal,
    });
    const { tag, total, part, fileName } = download;
    const isEmpty = part !== null && part.from > part.to;
    // The first page is made before anything is said: what is wrong can still be told.
    const body =
      isGet && !isEmpty
        ? await bodyOf(
            download,
            (error) => logger.warn({ err: error, requestId: request.id }, 'an export broke off'),
            leaving.signal,
          )
        : null;
    reply.header('accept-ranges', 'bytes').header('etag', tag);
    if (isEmpty) reply.code(416).header('content-range', `bytes */${total}`);
    else {
      reply
        .header('content-type', 'text/csv; charset=utf-8')
        .header('content-disposition', `attachment; filename="${fileName}"`);
      if (part) reply.code(206).header('content-range', `bytes ${part.from}-${part.to}/${total}`);
      // Without a length the encoding tells the end: what breaks off before is seen to be broken off.
      const length = part ? part.to - part.from + 1 : total;
      if (length !== null) reply.header('content-length', length);
    }
    if (body) return reply.send(body);
    download.close();
    return reply.send();
  } catch (error) {
    download?.close();
    return refuse(reply, error, { logger, requestId: request.id });
  }
}

/**
 * The pages of a download: one is sent while the next is made, and no more before it is taken. Rejects where the first
 * one cannot be made.
 */
async function bodyOf(
  download: ExportDownload,
  onBroken: (error: Error) => void,
  left: AbortSignal,
): Promise<Readable> {
  const pieces = download.read();
  const first = await pieces.next();
  const stream = Readable.from(
    taken(first, pieces, () => stream.destroy(new Error('the client has taken nothing for too long'))),
    { objectMode: false, highWaterMark: AHEAD },
  );
  stream.once('error', (error) => {
    if (!left.aborted) onBroken(error);
  });
  stream.once('close', () => download.close());
  return stream;
}

async function* taken(
  first: IteratorResult<Buffer, void>,
  pieces: AsyncGenerator<Buffer, void, void>,
  onStalled: () => void,
): AsyncGenerator<Buffer, void, void> {
  try {
    for (let piece = first; !piece.done; piece = await pieces.next()) {
      const stalled = setTimeout(onStalled, STALLED_MS).unref();
      try {
        yield piece.value;
      } finally {
        clearTimeout(stalled);
      }
    }
  } finally {
    await pieces.return();
  }
}

/** In the shape of the graph's errors. What is wrong with a link that is not ours is nobody's business. */
function refuse(reply: FastifyReply, error: unknown, scope: { logger: Logger; requestId: string }): FastifyReply {
  const formatted = formatError(error, scope);
  const known = toAppError(error);
  const { retryAfterMs } = formatted.extensions ?? {};
  if (typeof retryAfterMs === 'number') reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  const status =
    error instanceof ExportLinkError ? STATUS[error.reason] : statusOf(known?.code ?? 'INTERNAL_SERVER_ERROR');
  return reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .send(JSON.stringify({ errors: [formatted] }));
}
