import { AppError } from '../../../src/errors';
import type { ChatInput } from '../../../src/domain/chat';
import { validateChatInput } from '../../../src/services/pipeline/operations/validate-chat';

const input = (changes: Partial<ChatInput> = {}): ChatInput => ({
  scenario: 'DEFAULT',
  messages: [{ role: 'USER', content: 'hello' }],
  ...changes,
});

function argumentOf(changes: Partial<ChatInput>): string | undefined {
  try {
    validateChatInput(input(changes));
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe('BAD_USER_INPUT');
    return (error as AppError).argument;
  }
}
let deep: unknown = {};
for (let i = 0; i < 20_000; i += 1) deep = { a: deep };

describe('validateChatInput names the argument', () => {
  it.each<[string, Partial<ChatInput>]>([
    ['messages', { messages: [] }],
    ['messages[0].content', { messages: [{ role: 'USER', content: '' }] }],
    ['messages[0].content', { messages: [{ role: 'USER' }] }],
    ['messages[0].content', { messages: [{ role: 'USER', content: 'a\0b' }] }],
    ['messages[0]', { messages: [{ role: 'USER', content: 'a', parts: [{ text: 'b' }] }] }],
    [
      'messages[0].parts[0]',
      { messages: [{ role: 'USER', parts: [{ text: 'a', imageUrl: 'https://example.com/a.png' }] }] },
    ],
    [
      'messages[0].parts[0].imageUrl',
      { messages: [{ role: 'USER', parts: [{ imageUrl: 'http://example.com/a.png' }] }] },
    ],
    [
      'messages[0].parts[0].imageUrl',
      { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://169.254.169.254/latest' }] }] },
    ],
    ['messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://[::1]/a' }] }] }],
    ['messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://db.internal/a' }] }] }],
    [
      'messages[0].parts[0].imageUrl',
      { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://litellm.default.svc/a' }] }] },
    ],
    ['messages[0].toolCallId', { messages: [{ role: 'TOOL', content: 'a' }] }],
    [
      'messages[0].toolCalls',
      { messages: [{ role: 'USER', content: 'a', toolCalls: [{ toolCallId: '1', name: 'f', arguments: '{}' }] }] },
    ],
    ['maxTokens', { maxTokens: -1 }],
    ['maxTokens', { maxTokens: 0 }],
    ['temperature', { temperature: 9 }],
    ['temperature', { temperature: Number.NaN }],
    ['topP', { topP: 1.5 }],
    ['stop[0]', { stop: [''] }],
    ['afterMessageId', { afterMessageId: 'msg_1' }],
    ['toolChoice', { toolChoice: 'REQUIRED' }],
    ['toolName', { tools: [{ name: 'f' }], toolChoice: 'TOOL' }],
    ['toolName', { tools: [{ name: 'f' }], toolChoice: 'TOOL', toolName: 'g' }],
    ['tools[1].name', { tools: [{ name: 'f' }, { name: 'f' }] }],
    ['tools[0].parameters', { tools: [{ name: 'f', parameters: deep }] }],
    ['tools[0].parameters', { tools: [{ name: 'f', parameters: [] }] }],
    ['responseFormat.schema', { responseFormat: { type: 'JSON_SCHEMA' } }],
    ['traceId', { traceId: 'a\r\nb' }],
    ['agent', { agent: '' }],
    ['model', { model: 'm'.repeat(257) }],
    ['idempotencyKey', { idempotencyKey: '' }],
    ['idempotencyKey', { idempotencyKey: 'k'.repeat(256) }],
    ['idempotencyKey', { idempotencyKey: 'a\0b' }],
    ['idempotencyKey', { idempotencyKey: 'a\ud800' }],
  ])('%s', (argument, changes) => {
    expect(argumentOf(changes)).toBe(argument);
  });

  it('takes what providers take', () => {
    expect(
      argumentOf({
        messages: [
          { role: 'SYSTEM', content: 'be kind' },
          {
            role: 'USER',
            parts: [
              { text: 'what is this?' },
              { imageUrl: 'https://example.com/a.png', imageDetail: 'LOW' },
              { imageUrl: 'data:image/png;base64,AAAA' },
            ],
          },
          { role: 'ASSISTANT', content: null, toolCalls: [{ toolCallId: 'c1', name: 'look', arguments: '{"a":1}' }] },
          { role: 'TOOL', content: '', toolCallId: 'c1' },
        ],
        tools: [{ name: 'look', parameters: { type: 'object' } }],
        toolChoice: 'TOOL',
        toolName: 'look',
        temperature: 0,
        maxTokens: 1,
        stop: ['END'],
      }),
    ).toBeUndefined();
  });
});
