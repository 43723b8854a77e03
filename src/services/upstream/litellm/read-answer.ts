import type { Readable } from 'node:stream';
import type OpenAI from 'openai';
import { mapStreamError } from './errors';
import type { UpstreamSink } from '../upstream';
import { readUsage } from './usage-shape';
import { UpstreamError } from '../errors';

/** Reasoning text has no field in OpenAI's own types; proxies and open models use these two. */
export interface WithReasoning {
  reasoning_content?: string | null;
  reasoning?: string | null;
}
export const reasoningOf = (message: WithReasoning): string | null =>
  (typeof message.reasoning_content === 'string' && message.reasoning_content) ||
  (typeof message.reasoning === 'string' && message.reasoning) ||
  null;

/** A whole answer, given to the sink as a stream of few pieces: after this nobody needs to know which it was. */
export async function readAnswer(
  kind: 'LITELLM' | 'DIRECT',
  body: Readable,
  maxBytes: number,
  sink: UpstreamSink,
  onBytes: () => void,
): Promise<void> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    onBytes();
    size += chunk.length;
    if (size > maxBytes) throw new UpstreamError('FAILED', `the answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const answer = parse(kind, Buffer.concat(chunks).toString());
  if (sink.body) {
    // Nothing is written in such an answer. The usage comes first: it counts, whatever the answer is worth.
    const used = readUsage({ completion_tokens: 0, ...answer.usage }, kind, false, answer.service_tier);
    if (used) sink.usage(used);
    return sink.body(answer as unknown as Record<string, unknown>);
  }
  const choice = answer.choices?.[0];
  if (!choice?.message)
    throw new UpstreamError('FAILED', 'the upstream answered 200 without a choice', { retryable: true });
  const reasoning = reasoningOf(choice.message as WithReasoning);
  if (reasoning) sink.reasoning(reasoning);
  const text = choice.message.content ?? choice.message.refusal;
  if (typeof text === 'string' && text) sink.text(text);
  choice.message.tool_calls?.forEach((call, index) => {
    if (call.type === 'function')
      sink.toolCall(index, call.id ?? '', call.function.name ?? '', call.function.arguments ?? '');
  });
  sink.finish(choice.finish_reason ?? 'stop');
  const usage = readUsage(answer.usage, kind, false, answer.service_tier);
  if (usage) sink.usage(usage);
}

function parse(kind: 'LITELLM' | 'DIRECT', text: string): OpenAI.Chat.ChatCompletion {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw new UpstreamError(
      'FAILED',
      `the upstream answered 200 with something that is not JSON: ${text.slice(0, 200)}`,
      { retryable: true, cause },
    );
  }
  // A provider's 422, where the proxy may leave out parameters (`drop_params`): it has asked twice, and has no answer.
  if (answer === null && kind === 'LITELLM') {
    throw new UpstreamError(
      'INVALID_REQUEST',
      'the proxy answered 200 with null: the provider does not take the request',
    );
  }
  if (typeof answer !== 'object' || answer === null)
    throw new UpstreamError('FAILED', 'the upstream answered 200 without an object', { retryable: true });
  // Some gateways answer a failure with 200.
  if ('error' in answer && answer.error) throw mapStreamError(answer.error);
  return answer as OpenAI.Chat.ChatCompletion;
}
