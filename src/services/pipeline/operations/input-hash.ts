import { createHash } from 'node:crypto';
import type { ChatInput } from '../../../domain/chat';

/** What does not change the answer. `onDisconnect` and `progress` are the stream's. */
const ASIDE = new Set(['idempotencyKey', 'traceId', 'onDisconnect', 'progress']);
/** JSON of the client's own, where null says something: of a tool and of a response format. */
const FREE_JSON = new Set(['parameters', 'schema']);

/**
 * SHA-256 in hex of everything in the input that decides the answer. A field that is null and one that is left out are
 * the same input.
 */
export function inputHash(input: ChatInput): string {
  const asked = Object.fromEntries(Object.entries(input).filter(([name]) => !ASIDE.has(name)));
  return createHash('sha256').update(canonicalJson(asked, false)).digest('hex');
}

/**
 * JSON with sorted keys: one text for one value, however it was written. Recursive: to be called for validated input,
 * whose depth is bounded.
 */
function canonicalJson(value: unknown, keepsNull: boolean): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, keepsNull)).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined && (keepsNull || field !== null))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field, keepsNull || FREE_JSON.has(name))}`).join()}}`;
}
