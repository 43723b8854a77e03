import { getOperationAST, type DocumentNode } from 'graphql';
import type { FastifyRequest } from 'fastify';
import { LruMap } from '../../lib/lru-map';
import type { Logger } from '../../lib/logger';
import type { RequestContext } from '../../resolvers/context';
import type { Asked, Execution } from './execution';
import { formatError } from './format-error';
import { CACHE } from './guards';

export interface ShortAnswer {
  status: number;
  contentType: string;
  retryAfter?: string;
  text: string;
}

/** Apollo lets these pass its protection against CSRF, by POST: browsers ask before they send them. */
const CONTENT_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'application/json; charset=utf-8',
  'application/json;charset=utf-8',
  'application/json; charset=UTF-8',
  'application/json;charset=UTF-8',
]);
/** Different `accept` headers that are remembered, and characters of one. */
const ACCEPTS = { count: 50, length: 256 } as const;

/**
 * A way around Apollo's pipeline for what it has seen: the pipeline is a quarter of a small query. It is taken by
 * documents that Apollo has parsed and validated, with an `accept` header for which it has chosen a media type.
 * Whatever is not as plain as that, and whatever is refused before it is executed, goes through Apollo, which words the
 * refusal: the answers are the same, byte by byte.
 */
export class Shortcut {
  private readonly documents = new LruMap<string, DocumentNode>(CACHE.documents);
  private readonly contentTypes = new LruMap<string, string>(ACCEPTS.count);

  constructor(
    private readonly execution: Execution,
    private readonly logger: Logger,
  ) {}

  /** Apollo has parsed and validated this document. */
  learnDocument(source: string, document: DocumentNode): void {
    if (source.length <= CACHE.length) this.documents.set(source, document);
  }

  /** Apollo has answered with this media type what was executed. */
  learnContentType(accept: string | undefined, contentType: string | undefined): void {
    if (contentType === undefined || (accept?.length ?? 0) > ACCEPTS.length) return;
    this.contentTypes.set(accept ?? '', contentType);
  }

  /** The answer, or null: the request is for Apollo. */
  take(request: FastifyRequest, contextOf: () => RequestContext): Promise<ShortAnswer> | null {
    if (request.method !== 'POST' || !CONTENT_TYPES.has(request.headers['content-type'] ?? '')) return null;
    const contentType = this.contentTypes.get(request.headers.accept ?? '');
    const plain = contentType === undefined ? null : plainRequest(request.body);
    const document = plain ? this.documents.get(plain.query) : undefined;
    if (!plain || !document) return null;
    const operation = getOperationAST(document, plain.operationName);
    if (!operation || operation.operation === 'subscription') return null;
    const operationName = operation.name?.value ?? null;
    const asked: Asked = { document, operation, operationName, variables: plain.variables, contextValue: contextOf() };
    return this.execution.refusal(asked) ? null : this.answer(asked, contentType!);
  }

  private async answer(asked: Asked, contentType: string): Promise<ShortAnswer> {
    try {
      const { status = 200, retryAfter, data, errors } = await this.execution.answer(asked);
      return { status, contentType, retryAfter, text: JSON.stringify({ errors, data }) };
    } catch (error) {
      // A result that is no JSON, or a defect of what executes.
      const errors = [formatError(error, { logger: this.logger })];
      return { status: 500, contentType, text: JSON.stringify({ errors }) };
    }
  }
}

type Optional = Record<string, unknown> | null | undefined;
interface PlainRequest {
  query: string;
  operationName: string | null | undefined;
  variables: Optional;
}

const isOptional = (value: unknown): value is Optional =>
  value === undefined || (typeof value === 'object' && !Array.isArray(value));

/** The parts of a body in which Apollo would find no fault and no persisted query; null: let it look. */
function plainRequest(body: unknown): PlainRequest | null {
  const { query, operationName, variables, extensions } = (body ?? {}) as Record<string, unknown>;
  if (typeof query !== 'string' || !isOptional(variables) || !isOptional(extensions)) return null;
  if (extensions?.persistedQuery) return null;
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return null;
  return { query, operationName, variables: variables ?? undefined };
}
