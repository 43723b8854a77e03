import { ERROR_TABLE } from '../src/errors';
import { PROTOCOL_CODES } from '../src/server/graphql/format-error';
import { REFUSAL_TABLE } from '../src/domain/refusal';

const CLOSE_CODES: [code: number, when: string, client: string][] = [
  [1001, 'The server is stopping.', 'Connect again: another replica answers.'],
  [
    1006,
    'No close frame: for 60 seconds the client has said nothing and answered no ping, or has taken nothing of what was sent to it.',
    'Connect again, and resume its streams.',
  ],
  [
    1009,
    'A message is larger than `MAX_BODY_BYTES`, or more than 64 KiB or ten messages came before `connection_ack`.',
    'Send less.',
  ],
  [1013, 'The credentials cannot be checked right now.', 'Connect again, later.'],
  [
    4400,
    'The message is no graphql-transport-ws message: binary, broken JSON, nested too deep.',
    'A fault of the client.',
  ],
  [
    4401,
    'Nobody with valid credentials: missing, unknown, expired, revoked while connected; or a subscription before `connection_ack`. Streams that the credentials began have ended before, as `StreamStopped` with the reason AUTHORIZATION.',
    'Get a valid token first. Clients of graphql-ws do not retry it.',
  ],
  [4406, 'The subprotocol is not `graphql-transport-ws`.', 'Use graphql-ws.'],
  [4408, 'No `connection_init` within 3 seconds.', 'Send it.'],
  [4409, 'Two operations with one id.', 'A fault of the client.'],
  [
    4429,
    'A second `connection_init`, or more than 100 connections of one token.',
    'Use one connection for all operations.',
  ],
  [4500, 'A fault of the server.', 'Report the time to the operator.'],
];

const EVENT_STATUSES: [status: number | string, when: string, client: string][] = [
  [
    400,
    'The body is no request of GraphQL: broken JSON, no `query`, `variables` that are no object.',
    'A fault of the client.',
  ],
  [
    401,
    'Nobody with valid credentials. Those that end later end the operation with `UNAUTHENTICATED`, and the streams that they began before, as `StreamStopped` with the reason AUTHORIZATION.',
    'Get a valid token first.',
  ],
  [429, 'More than 100 operations of one token.', 'End some, or wait as long as `Retry-After` says.'],
  [503, 'The server is stopping.', 'Ask again: another replica answers.'],
  [
    'none: the response ends without `complete`',
    'The server has stopped, or the client has taken nothing for 60 seconds.',
    'Ask again, and resume its streams.',
  ],
];

const row = (...cells: (string | number)[]): string => `| ${cells.join(' | ')} |`;

/** The text of `docs/errors.md`: made from the tables of the code, so that it cannot say anything else. */
export function errorsDocument(): string {
  return [
    '# Errors',
    '',
    'Made from the tables in `src/errors.ts`, `src/domain/refusal.ts` and `scripts/errors-document.ts` by `node scripts/errors-doc.mjs`; a test fails when it differs.',
    '',
    '## GraphQL errors',
    '`errors[].extensions.code`, over HTTP, server-sent events and WebSocket alike. `extensions` may also hold `argument` (the path of the argument, as `input.messages[0].content`),',
    '`retryAfterMs` and `requestId`. The HTTP status is the one below when the whole request was refused; an operation that ran answers 200, and 503 when',
    'nothing came of it but SERVICE_UNAVAILABLE. `retryable` says whether the same request may succeed later.',
    '',
    row('code', 'HTTP', 'retryable', 'when', 'what helps'),
    row('---', '---', '---', '---', '---'),
    ...Object.entries(ERROR_TABLE).map(([code, { status, retryable, when, remedy }]) =>
      row(`\`${code}\``, status, retryable ? 'yes' : 'no', when, remedy),
    ),
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
    ...Object.entries(REFUSAL_TABLE).map(([code, { type, when, remedy }]) =>
      row(`\`${code}\``, `\`${type}\``, when, remedy),
    ),
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
