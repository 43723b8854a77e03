import { AppError } from '../../src/errors';
import type { ChatInput } from '../../src/services/chat/chat.types';
import { validateChatInput } from '../../src/services/chat/validate-input';

const input = (changes: Partial<ChatInput> = {}): ChatInput => ({ scenario: 'DEFAULT', messages: [{ role: 'USER', content: 'hello' }], ...changes });

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
    ['input.messages', { messages: [] }],
    ['input.messages[0].content', { messages: [{ role: 'USER', content: '' }] }],
    ['input.messages[0].content', { messages: [{ role: 'USER' }] }],
    ['input.messages[0].content', { messages: [{ role: 'USER', content: 'a\0b' }] }],
    ['input.messages[0]', { messages: [{ role: 'USER', content: 'a', parts: [{ text: 'b' }] }] }],
    ['input.messages[0].parts[0]', { messages: [{ role: 'USER', parts: [{ text: 'a', imageUrl: 'https://example.com/a.png' }] }] }],
    ['input.messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'http://example.com/a.png' }] }] }],
    ['input.messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://169.254.169.254/latest' }] }] }],
    ['input.messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://[::1]/a' }] }] }],
    ['input.messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://db.internal/a' }] }] }],
    ['input.messages[0].parts[0].imageUrl', { messages: [{ role: 'USER', parts: [{ imageUrl: 'https://litellm.default.svc/a' }] }] }],
    ['input.messages[0].toolCallId', { messages: [{ role: 'TOOL', content: 'a' }] }],
    ['input.messages[0].toolCalls', { messages: [{ role: 'USER', content: 'a', toolCalls: [{ toolCallId: '1', name: 'f', arguments: '{}' }] }] }],
    ['input.maxTokens', { maxTokens: -1 }],
    ['input.maxTokens', { maxTokens: 0 }],
    ['input.temperature', { temperature: 9 }],
    ['input.temperature', { temperature: Number.NaN }],
    ['input.topP', { topP: 1.5 }],
    ['input.stop[0]', { stop: [''] }],
    ['input.afterMessageId', { afterMessageId: 'msg_1' }],
    ['input.toolChoice', { toolChoice: 'REQUIRED' }],
    ['input.toolName', { tools: [{ name: 'f' }], toolChoice: 'TOOL' }],
    ['input.toolName', { tools: [{ name: 'f' }], toolChoice: 'TOOL', toolName: 'g' }],
    ['input.tools[1].name', { tools: [{ name: 'f' }, { name: 'f' }] }],
    ['input.tools[0].parameters', { tools: [{ name: 'f', parameters: deep }] }],
    ['input.tools[0].parameters', { tools: [{ name: 'f', parameters: [] }] }],
    ['input.responseFormat.schema', { responseFormat: { type: 'JSON_SCHEMA' } }],
    ['input.traceId', { traceId: 'a\r\nb' }],
    ['input.agent', { agent: '' }],
    ['input.model', { model: 'm'.repeat(257) }],
    ['input.idempotencyKey', { idempotencyKey: '' }],
    ['input.idempotencyKey', { idempotencyKey: 'k'.repeat(256) }],
    ['input.idempotencyKey', { idempotencyKey: 'a\0b' }],
    ['input.idempotencyKey', { idempotencyKey: 'a\ud800' }],
  ])('%s', (argument, changes) => {
    expect(argumentOf(changes)).toBe(argument);
  });

  it('takes what providers take', () => {
    expect(
      argumentOf({
        messages: [
          { role: 'SYSTEM', content: 'be kind' },
          { role: 'USER', parts: [{ text: 'what is this?' }, { imageUrl: 'https://example.com/a.png', imageDetail: 'LOW' }, { imageUrl: 'data:image/png;base64,AAAA' }] },
          { role: 'ASSISTANT', content: null, toolCalls: [{ toolCallId: 'c1', name: 'look', arguments: '{"a":1}' }] },
          { role: 'TOOL', content: '', toolCallId: 'c1' },
        ],
        tools: [{ name: 'look', parameters: { type: 'object' } }], toolChoice: 'TOOL', toolName: 'look', temperature: 0, maxTokens: 1, stop: ['END'],
      }),
    ).toBeUndefined();
  });
});
