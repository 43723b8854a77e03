import { ERROR_TABLE } from '../src/errors';
import { PROTOCOL_CODES } from '../src/server/format-error';
import type { Refusal } from '../src/domain/refusal';

/** What each refusal means. The type makes the compiler ask for a line here when a code is added. */
const REFUSALS: Record<Refusal['code'], { type: Refusal['kind']; when: string; remedy: string }> = {
  MODEL_NOT_ALLOWED: { type: 'ModelNotAllowed', when: "The caller's plan does not name the model, or there is no such model (then `plansThatAllow` is empty).", remedy: 'Use one of `allowedModels`, or ask for one of `plansThatAllow`.' },
  MODEL_UNPRICED: { type: 'ModelUnpriced', when: 'A budget applies, and no price is known for the model: unknown is not free.', remedy: 'Use a model that has a price; operators add prices.' },
  MODEL_UNAVAILABLE: { type: 'ModelUnavailable', when: 'The model is cooling down, has no healthy deployment, or the proxy is away.', remedy: 'Use one of `alternatives`, or repeat after `retryAfterMs`.' },
  BUDGET_EXCEEDED: { type: 'BudgetExceeded', when: 'The most that the call can cost does not fit a budget: its limit less what is spent and what running calls hold. Nothing was spent.', remedy: 'Ask for at most `maxTokensThatFit`, use one of `modelsThatFit`, or wait until `resetsAt`.' },
  RATE_LIMITED: { type: 'RateLimited', when: 'A limit was reached; `origin` says whose, `dimension` of what.', remedy: 'Repeat after `retryAfterMs`.' },
  CONTEXT_TOO_LONG: { type: 'ContextTooLong', when: 'The messages do not fit into the context of the model.', remedy: 'Send less, or use one of `modelsThatFit`.' },
  CONTENT_BLOCKED: { type: 'ContentBlocked', when: "The provider's or the proxy's content policy refused the input or the answer.", remedy: 'Change the messages.' },
  UPSTREAM_FAILED: { type: 'UpstreamFailed', when: 'The provider or the proxy failed. What it said is for operators, in the log under the call id.', remedy: 'Repeat where `retryable`; else tell the operator `callId`.' },
  UPSTREAM_TIMEOUT: { type: 'UpstreamFailed', when: 'The provider or the proxy took longer than a deadline allows.', remedy: 'Repeat; ask for fewer tokens.' },
  STREAM_INTERRUPTED: { type: 'UpstreamFailed', when: 'The stream broke in the middle. What came before is kept in `partial`.', remedy: 'Continue from what came, or repeat.' },
  IDEMPOTENCY_CONFLICT: { type: 'IdempotencyConflict', when: 'The idempotency key was used with other input less than 24 hours ago.', remedy: 'Use another key for another question.' },
};

const CLOSE_CODES: [code: number, when: string, client: string][] = [
  [1001, 'The server is stopping.', 'Connect again: another replica answers.'],
  [1006, 'No close frame: for 60 seconds the client has said nothing and answered no ping, or has taken nothing of what was sent to it.', 'Connect again, and resume its streams.'],
  [1009, 'A message is larger than `MAX_BODY_BYTES`, or more than 64 KiB or ten messages came before `connection_ack`.', 'Send less.'],
  [1013, 'The credentials cannot be checked right now.', 'Connect again, later.'],
  [4400, 'The message is no graphql-transport-ws message: binary, broken JSON, nested too deep.', 'A fault of the client.'],
  [4401, 'Nobody with valid credentials: missing, unknown, expired, revoked while connected; or a subscription before `connection_ack`. Streams that the credentials began have ended before, as `StreamStopped` with the reason AUTHORIZATION.', 'Get a valid token first. Clients of graphql-ws do not retry it.'],
  [4406, 'The subprotocol is not `graphql-transport-ws`.', 'Use graphql-ws.'],
  [4408, 'No `connection_init` within 3 seconds.', 'Send it.'],
  [4409, 'Two operations with one id.', 'A fault of the client.'],
  [4429, 'A second `connection_init`, or more than 100 connections of one token.', 'Use one connection for all operations.'],
  [4500, 'A fault of the server.', 'Report the time to the operator.'],
];

const EVENT_STATUSES: [status: number | string, when: string, client: string][] = [
  [400, 'The body is no request of GraphQL: broken JSON, no `query`, `variables` that are no object.', 'A fault of the client.'],
  [401, 'Nobody with valid credentials. Those that end later end the operation with `UNAUTHENTICATED`, and the streams that they began before, as `StreamStopped` with the reason AUTHORIZATION.', 'Get a valid token first.'],
  [429, 'More than 100 operations of one token.', 'End some, or wait as long as `Retry-After` says.'],
  [503, 'The server is stopping.', 'Ask again: another replica answers.'],
  ['none: the response ends without `complete`', 'The server has stopped, or the client has taken nothing for 60 seconds.', 'Ask again, and resume its streams.'],
];

const row = (...cells: (string | number)[]): string => `| ${cells.join(' | ')} |`;

/** The text of `docs/errors.md`: made from the tables of the code, so that it cannot say anything else. */
export function errorsDocument(): string {
  return [
    '# Errors',
    '',
    'Made from the tables in `src/errors.ts` and `src/server/errors-doc.ts` by `node scripts/errors-doc.mjs`; a test fails when it differs.',
    '',
    '## GraphQL errors',
    '`errors[].extensions.code`, over HTTP, server-sent events and WebSocket alike. `extensions` may also hold `argument` (the path of the argument, as `input.messages[0].content`),',
    '`retryAfterMs` and `requestId`. The HTTP status is the one below when the whole request was refused; an operation that ran answers 200, and 503 when',
    'nothing came of it but SERVICE_UNAVAILABLE. `retryable` says whether the same request may succeed later.',
    '',
    row('code', 'HTTP', 'retryable', 'when', 'what helps'),
    row('---', '---', '---', '---', '---'),
    ...Object.entries(ERROR_TABLE).map(([code, { status, retryable, when, remedy }]) => row(`\`${code}\``, status, retryable ? 'yes' : 'no', when, remedy)),
    '',
    'Of the GraphQL layer, before anything is executed (HTTP 400; 405 for a mutation by GET; BAD_USER_INPUT with 413 for a body over `MAX_BODY_BYTES` and 415 for another charset):',
    '',
    row('code', 'when'),
    row('---', '---'),
    ...Object.entries(PROTOCOL_CODES).map(([code, when]) => row(`\`${code}\``, when)),
    '',
    '## Refusals',
    'Expected outcomes of `chat` and `chatStream`: members of the result unions that implement `Refusal`, with fields to act on. They are data, not errors.',
    '',
    row('code', 'type', 'when', 'what helps'),
    row('---', '---', '---', '---'),
    ...Object.entries(REFUSALS).map(([code, { type, when, remedy }]) => row(`\`${code}\``, `\`${type}\``, when, remedy)),
    '',
    '## Close codes of WebSockets',
    row('code', 'when', 'what to do'),
    row('---', '---', '---'),
    ...CLOSE_CODES.map(([code, when, client]) => row(code, when, client)),
    '',
    '## Server-sent events',
    'What is wrong with the operation comes with status 200 as a `next` event with `errors`, then `complete`: the protocol (graphql-sse, distinct connections mode) wants it so. Before that:',
    '',
    row('status', 'when', 'what to do'),
    row('---', '---', '---'),
    ...EVENT_STATUSES.map(([status, when, client]) => row(status, when, client)),
    '',
  ].join('\n');
}
