// What the demonstration provider says. It understands nothing: it repeats, counts and fills in forms, and says so.
import { countTokens, imagesIn, textOf, tokensOf } from './tokens.mjs';
import { exampleOf } from './example.mjs';

export const NOTICE = "This is Weir's demonstration provider, not a language model.";
const ECHO_CHARACTERS = 200;
const MAX_WORDS = 10_000;
/** Tokens of thought. */
const EFFORT = { none: 0, minimal: 4, low: 12, medium: 30, high: 80, xhigh: 160 };

/**
 * The whole answer: { pieces, finishReason }. A piece is one token: { kind: 'reasoning' | 'text', token } or
 * { kind: 'tool', index, name?, id?, token }. `limit`: most tokens. `finishReason` as in the protocol.
 */
export function answerTo(request, { reasons, limit, newId }) {
  const reasoning = reasons ? tokensOf(thoughtsOn(request)).map((token) => ({ kind: 'reasoning', token })) : [];
  const calls = toolsToCall(request);
  const { text, stopped } = calls.length > 0 ? { text: '', stopped: false } : cutAtStop(textFor(request), request.stop);
  const tools = calls.flatMap((tool, index) => {
    const tokens = tokensOf(JSON.stringify(exampleOf(tool.parameters ?? { type: 'object' }, question(request))));
    return tokens.map((token, i) => ({ kind: 'tool', index, token, ...(i === 0 && { name: tool.name, id: `call_${newId()}` }) }));
  });
  const pieces = [...reasoning, ...tokensOf(text).map((token) => ({ kind: 'text', token })), ...tools];
  if (pieces.length > limit) return { pieces: pieces.slice(0, limit), finishReason: 'length' };
  return { pieces, finishReason: tools.length > 0 && !stopped ? 'tool_calls' : 'stop' };
}

const lastOf = ({ messages }) => messages[messages.length - 1];
const question = (request) => textOf(request.messages.findLast(({ role }) => role === 'user') ?? lastOf(request));
const echo = (text) => (text.length > ECHO_CHARACTERS ? `${[...text].slice(0, ECHO_CHARACTERS).join('')}…` : text);

/** The functions that the answer calls: those demanded, else those that the user names, else the first if the user asks for "a tool". */
function toolsToCall(request) {
  const { tools = [], tool_choice: choice = 'auto' } = request;
  const functions = tools.filter(({ type }) => type === 'function').map((tool) => tool.function);
  if (functions.length === 0 || choice === 'none') return [];
  if (typeof choice === 'object') return functions.filter(({ name }) => name === choice.function?.name);
  if (choice !== 'required' && lastOf(request).role === 'tool') return [];
  const asked = question(request).toLowerCase();
  const named = functions.filter(({ name }) => asked.includes(name.toLowerCase()));
  const wanted = named.length > 0 ? named : choice === 'required' || /\b(tool|function)\b/.test(asked) ? functions.slice(0, 1) : [];
  return request.parallel_tool_calls === false ? wanted.slice(0, 1) : wanted;
}

function textFor(request) {
  const { messages, response_format: format } = request;
  if (format?.type === 'json_schema') return JSON.stringify(exampleOf(format.json_schema?.schema ?? {}, question(request)));
  if (format?.type === 'json_object') return JSON.stringify({ notice: NOTICE, model: request.model, messages: messages.length, question: echo(question(request)) });
  const last = lastOf(request);
  const images = imagesIn(messages);
  const text = [
    NOTICE,
    `${request.model} got ${messages.length === 1 ? '1 message' : `${messages.length} messages`}${images > 0 ? ` with ${images === 1 ? '1 image' : `${images} images`}` : ''}.`,
    last.role === 'tool' ? `The tool answered: ${echo(textOf(last))}` : `You asked: ${echo(question(request))}`,
    'A real model answers here as soon as a provider key is in the environment.',
  ].join(' ');
  return lengthened(text, question(request));
}

/** Whoever asks for "300 words" gets about as many: for trying out streams, limits and stopping. */
function lengthened(text, asked) {
  const wanted = Math.min(Number(/(\d+)\s+words/i.exec(asked)?.[1] ?? 0), MAX_WORDS);
  const words = text.split(' ');
  for (let n = 1; words.length < wanted; n++) words.push(...`Sentence ${n} of the demonstration is here to fill the length.`.split(' '));
  return wanted > 0 ? words.slice(0, Math.max(wanted, text.split(' ').length)).join(' ') : text;
}

function cutAtStop(text, stop) {
  const found = [stop ?? []].flat().filter(Boolean).map((sequence) => text.indexOf(sequence)).filter((at) => at >= 0);
  return found.length > 0 ? { text: text.slice(0, Math.min(...found)), stopped: true } : { text, stopped: false };
}

function thoughtsOn(request) {
  const wanted = EFFORT[request.reasoning_effort ?? 'medium'] ?? EFFORT.medium;
  if (wanted === 0) return '';
  const thought = `The question has ${countTokens(question(request))} tokens. This is a demonstration, so I only pretend to think about it. `;
  return tokensOf(thought.repeat(Math.ceil(wanted / countTokens(thought)))).slice(0, wanted).join('');
}
