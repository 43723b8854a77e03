import type OpenAI from 'openai';
import type { ChatInput, MessageInput } from '../../../domain/chat';
import type { ContentPart } from '../../../domain/conversation';

const lower = <T extends string>(name: T): Lowercase<T> => name.toLowerCase() as Lowercase<T>;

/**
 * The body of a completion, field by field from what a client may set. Nothing else goes upstream: no `user`, no
 * metadata, no tags, no base URL, no mock of an answer. `max_tokens` is always there.
 */
export function completionBody(
  input: ChatInput,
  model: string,
  history: readonly MessageInput[],
  maxTokens: number,
  stream: boolean,
): OpenAI.Chat.ChatCompletionCreateParams {
  const body: OpenAI.Chat.ChatCompletionCreateParamsNonStreaming = {
    model,
    messages: [...history, ...input.messages].map(mapMessage),
    max_tokens: maxTokens,
  };
  if (input.temperature != null) body.temperature = input.temperature;
  if (input.topP != null) body.top_p = input.topP;
  if (input.stop?.length) body.stop = input.stop;
  if (input.seed != null) body.seed = input.seed;
  if (input.presencePenalty != null) body.presence_penalty = input.presencePenalty;
  if (input.frequencyPenalty != null) body.frequency_penalty = input.frequencyPenalty;
  if (input.reasoningEffort) body.reasoning_effort = lower(input.reasoningEffort);
  if (input.tools?.length) body.tools = input.tools.map(mapTool);
  if (input.toolChoice)
    body.tool_choice =
      input.toolChoice === 'TOOL' ? { type: 'function', function: { name: input.toolName! } } : lower(input.toolChoice);
  if (input.parallelToolCalls != null) body.parallel_tool_calls = input.parallelToolCalls;
  if (input.responseFormat) body.response_format = mapFormat(input.responseFormat);
  return stream ? { ...body, stream: true, stream_options: { include_usage: true } } : body;
}

function mapMessage(message: MessageInput): OpenAI.Chat.ChatCompletionMessageParam {
  const content = message.parts?.length ? message.parts.map(mapPart) : (message.content ?? '');
  const name = message.name ? { name: message.name } : {};
  switch (message.role) {
    case 'ASSISTANT': {
      const toolCalls = message.toolCalls?.map((call) => ({
        id: call.toolCallId,
        type: 'function' as const,
        function: { name: call.name, arguments: call.arguments },
      }));
      const said = {
        role: 'assistant' as const,
        ...name,
        content:
          message.content ?? (message.parts?.length ? (content as OpenAI.Chat.ChatCompletionContentPartText[]) : null),
      };
      return toolCalls?.length ? { ...said, tool_calls: toolCalls } : said;
    }
    case 'TOOL':
      return { role: 'tool', tool_call_id: message.toolCallId!, content: content as string };
    case 'SYSTEM':
      return { role: 'system', ...name, content: content as string };
    case 'USER':
      return { role: 'user', ...name, content };
  }
}

const mapPart = (
  part: ContentPart,
): OpenAI.Chat.ChatCompletionContentPartText | OpenAI.Chat.ChatCompletionContentPartImage =>
  part.imageUrl != null
    ? {
        type: 'image_url',
        image_url: { url: part.imageUrl, ...(part.imageDetail ? { detail: lower(part.imageDetail) } : {}) },
      }
    : { type: 'text', text: part.text ?? '' };

const mapTool = (tool: NonNullable<ChatInput['tools']>[number]): OpenAI.Chat.ChatCompletionFunctionTool => ({
  type: 'function',
  function: {
    name: tool.name,
    ...(tool.description ? { description: tool.description } : {}),
    parameters: (tool.parameters ?? { type: 'object', properties: {} }) as Record<string, unknown>,
    ...(tool.strict != null ? { strict: tool.strict } : {}),
  },
});

function mapFormat(
  format: NonNullable<ChatInput['responseFormat']>,
): OpenAI.Chat.ChatCompletionCreateParams['response_format'] {
  if (format.type === 'TEXT') return { type: 'text' };
  if (format.type === 'JSON_OBJECT') return { type: 'json_object' };
  return {
    type: 'json_schema',
    json_schema: {
      name: format.name ?? 'answer',
      schema: format.schema as Record<string, unknown>,
      ...(format.strict != null ? { strict: format.strict } : {}),
    },
  };
}
