import { badInput } from '../../../errors';
import type { ContentPart } from '../../../domain/conversation';
import type { ChatInput, MessageInput, ToolInput } from '../../../domain/chat';

const MAX_MESSAGES = 2_000;
const MAX_TOOLS = 128;
const MAX_STOPS = 16;
/** Deeper JSON Schemas than this are attacks: they overflow whoever walks them with recursion. */
const MAX_JSON_DEPTH = 64;
/** Names of tools and participants, as OpenAI and Anthropic take them. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

/**
 * Everything that can be said about the input without asking anybody. Throws BAD_USER_INPUT with the argument's path,
 * before anything is spent.
 */
export function validateChatInput(input: ChatInput): void {
  text('model', input.model, 256);
  text('agent', input.agent, 200);
  text('traceId', input.traceId, 128);
  if (input.traceId != null && !/^[\x21-\x7e]+$/.test(input.traceId))
    throw badInput('traceId', 'printable ASCII without spaces');
  text('idempotencyKey', input.idempotencyKey, 255);
  // Half a character would be replaced on its way into the database: two keys could become one.
  if (input.idempotencyKey?.isWellFormed() === false) throw badInput('idempotencyKey', 'whole characters only');
  text('projectId', input.projectId, 64);
  text('conversationId', input.conversationId, 64);
  text('afterMessageId', input.afterMessageId, 64);
  if (input.afterMessageId && !input.conversationId) throw badInput('afterMessageId', 'needs conversationId');

  if (!input.messages.length) throw badInput('messages', 'at least one message');
  if (input.messages.length > MAX_MESSAGES) throw badInput('messages', `at most ${MAX_MESSAGES} messages`);
  input.messages.forEach((message, i) => validateMessage(message, `messages[${i}]`));

  whole('maxTokens', input.maxTokens, 1, 2_000_000);
  range('temperature', input.temperature, 0, 2);
  range('topP', input.topP, 0, 1);
  range('presencePenalty', input.presencePenalty, -2, 2);
  range('frequencyPenalty', input.frequencyPenalty, -2, 2);
  whole('seed', input.seed, -(2 ** 31), 2 ** 31 - 1);
  if (input.stop && input.stop.length > MAX_STOPS) throw badInput('stop', `at most ${MAX_STOPS} texts`);
  input.stop?.forEach((stop, i) => nonEmpty(`stop[${i}]`, stop, 1_000));

  validateTools(input);
  const format = input.responseFormat;
  if (format) {
    if ((format.type === 'JSON_SCHEMA') !== (format.schema != null))
      throw badInput('responseFormat.schema', 'goes with type JSON_SCHEMA, and only with it');
    if (format.schema != null) jsonObject('responseFormat.schema', format.schema);
    if (format.name != null && !NAME.test(format.name))
      throw badInput('responseFormat.name', 'letters, digits, _ and -, at most 64');
  }
}

function validateMessage(message: MessageInput, at: string): void {
  const { role, content, parts, toolCalls } = message;
  if (content != null && parts?.length) throw badInput(at, 'content or parts, not both');
  if (content != null) noNul(`${at}.content`, content);
  // An empty text from the model beside its tool calls is what providers themselves send.
  const hasText = (content != null && content !== '') || Boolean(parts?.length);
  if (!hasText && !(role === 'ASSISTANT' && toolCalls?.length) && role !== 'TOOL')
    throw badInput(`${at}.content`, 'may not be empty');
  parts?.forEach((part, i) => validatePart(part, role, `${at}.parts[${i}]`));
  if (toolCalls?.length && role !== 'ASSISTANT')
    throw badInput(`${at}.toolCalls`, 'only in messages of the role ASSISTANT');
  toolCalls?.forEach((call, i) => {
    nonEmpty(`${at}.toolCalls[${i}].toolCallId`, call.toolCallId, 256);
    nonEmpty(`${at}.toolCalls[${i}].name`, call.name, 128);
    noNul(`${at}.toolCalls[${i}].arguments`, call.arguments);
  });
  if ((role === 'TOOL') !== (message.toolCallId != null))
    throw badInput(`${at}.toolCallId`, 'goes with the role TOOL, and only with it');
  if (message.toolCallId != null) nonEmpty(`${at}.toolCallId`, message.toolCallId, 256);
  if (message.name != null && !NAME.test(message.name))
    throw badInput(`${at}.name`, 'letters, digits, _ and -, at most 64');
}

function validatePart(part: ContentPart, role: MessageInput['role'], at: string): void {
  if ((part.text != null) === (part.imageUrl != null)) throw badInput(at, 'exactly one of text and imageUrl');
  if (part.text != null) nonEmpty(`${at}.text`, part.text, Number.POSITIVE_INFINITY);
  if (part.imageUrl == null) return;
  if (role !== 'USER') throw badInput(`${at}.imageUrl`, 'only in messages of the role USER');
  if (!isPublicImage(part.imageUrl))
    throw badInput(`${at}.imageUrl`, 'a data:image/…;base64 URL, or an https URL of a public host');
}

/**
 * The proxy downloads pictures for some providers: an address inside our own network must not be one of them. Names can
 * point anywhere: the proxy's own network decides in the end (README, Deploy).
 */
function isPublicImage(url: string): boolean {
  if (/^data:image\/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]+$/.test(url)) return true;
  if (url.length > 8_192 || !URL.canParse(url)) return false;
  const { protocol, hostname, username, password } = new URL(url);
  const named = hostname.includes('.') && !/^[\d.]+$/.test(hostname) && !hostname.startsWith('[');
  return (
    protocol === 'https:' &&
    named &&
    !username &&
    !password &&
    !/\.(local|localdomain|localhost|internal|intranet|lan|home|corp|private|svc|test|home\.arpa)\.?$/i.test(hostname)
  );
}

function validateTools(input: ChatInput): void {
  const tools = input.tools ?? [];
  if (tools.length > MAX_TOOLS) throw badInput('tools', `at most ${MAX_TOOLS} tools`);
  const names = new Set<string>();
  tools.forEach((tool: ToolInput, i) => {
    if (!NAME.test(tool.name)) throw badInput(`tools[${i}].name`, 'letters, digits, _ and -, at most 64');
    if (names.has(tool.name)) throw badInput(`tools[${i}].name`, 'is used twice');
    names.add(tool.name);
    if (tool.description != null) noNul(`tools[${i}].description`, tool.description);
    if (tool.parameters != null) jsonObject(`tools[${i}].parameters`, tool.parameters);
  });
  if (input.toolChoice && input.toolChoice !== 'NONE' && !tools.length) throw badInput('toolChoice', 'needs tools');
  if ((input.toolChoice === 'TOOL') !== (input.toolName != null))
    throw badInput('toolName', 'goes with toolChoice TOOL, and only with it');
  if (input.toolName != null && !names.has(input.toolName)) throw badInput('toolName', 'is none of the tools');
  if (input.parallelToolCalls != null && !tools.length) throw badInput('parallelToolCalls', 'needs tools');
}

function jsonObject(at: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badInput(at, 'a JSON object');
  const waiting: [unknown, number][] = [[value, 1]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [node, depth] = next;
    if (typeof node === 'string') noNul(at, node);
    if (typeof node !== 'object' || node === null) continue;
    if (depth > MAX_JSON_DEPTH) throw badInput(at, `at most ${MAX_JSON_DEPTH} levels deep`);
    for (const [key, child] of Object.entries(node)) {
      noNul(at, key);
      waiting.push([child, depth + 1]);
    }
  }
}

function noNul(at: string, value: string): void {
  // Postgres keeps no NUL in a text; several providers cut the prompt there.
  if (value.includes('\0')) throw badInput(at, 'may not contain a NUL character');
}
function text(at: string, value: string | null | undefined, max: number): void {
  if (value != null) nonEmpty(at, value, max);
}
function nonEmpty(at: string, value: string, max: number): void {
  if (value === '') throw badInput(at, 'may not be empty');
  if (value.length > max) throw badInput(at, `at most ${max} characters`);
  noNul(at, value);
}
function range(at: string, value: number | null | undefined, min: number, max: number): void {
  if (value != null && !(value >= min && value <= max)) throw badInput(at, `from ${min} to ${max}`);
}
function whole(at: string, value: number | null | undefined, min: number, max: number): void {
  if (value != null && !Number.isInteger(value)) throw badInput(at, 'a whole number');
  range(at, value, min, max);
}
