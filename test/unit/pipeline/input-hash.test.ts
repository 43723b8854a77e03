import { inputHash } from '../../../src/services/pipeline/operations/input-hash';
import type { ChatInput } from '../../../src/domain/chat';

const input = (more: Partial<ChatInput> & Record<string, unknown> = {}): ChatInput => ({
  scenario: 'DEFAULT',
  messages: [{ role: 'USER', content: 'q' }],
  ...more,
});
const tool = (parameters: unknown): Partial<ChatInput> => ({ tools: [{ name: 'f', parameters }] });

describe('the hash of an input', () => {
  it('is a SHA-256 in hex', () => {
    expect(inputHash(input())).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is the same for fields that are null and fields that are left out, and in any order', () => {
    expect(
      inputHash(input({ model: null, temperature: undefined, messages: [{ content: 'q', name: null, role: 'USER' }] })),
    ).toBe(inputHash(input()));
    expect(inputHash({ messages: [{ content: 'q', role: 'USER' }], scenario: 'DEFAULT' })).toBe(inputHash(input()));
    expect(inputHash(input(tool({ a: { x: 1, y: 2 }, b: 1 })))).toBe(
      inputHash(input(tool({ b: 1, a: { y: 2, x: 1 } }))),
    );
  });

  it('is the same for a class instance and an object without a prototype, as the two doors make them', () => {
    class Input {}
    expect(inputHash(Object.assign(new Input(), input()) as ChatInput)).toBe(
      inputHash(Object.assign(Object.create(null), input()) as ChatInput),
    );
  });

  it('leaves aside what does not change the answer', () => {
    expect(inputHash(input({ traceId: 't', idempotencyKey: 'k', onDisconnect: 'CANCEL', progress: true }))).toBe(
      inputHash(input()),
    );
  });

  it.each<[string, Partial<ChatInput>]>([
    ['model', { model: 'm' }],
    ['scenario', { scenario: 'THINK' }],
    ['agent', { agent: 'a' }],
    ['project', { projectId: 'prj_1' }],
    ['conversation', { conversationId: 'conv_1' }],
    ['maxTokens', { maxTokens: 5 }],
    ['temperature', { temperature: 0 }],
    ['text', { messages: [{ role: 'USER', content: 'q ' }] }],
    [
      'order of messages',
      {
        messages: [
          { role: 'USER', content: 'a' },
          { role: 'USER', content: 'b' },
        ],
      },
    ],
    [
      'other order of messages',
      {
        messages: [
          { role: 'USER', content: 'b' },
          { role: 'USER', content: 'a' },
        ],
      },
    ],
    ['tool', tool({ type: 'object' })],
    ['stop', { stop: ['a'] }],
    ['stop, joined', { stop: ['a","b'] }],
    ['two stops', { stop: ['a', 'b'] }],
  ])('differs with the %s', (_name, more) => {
    const others = [
      input(),
      input({ stop: ['a', 'b'] }),
      input({ stop: ['a'] }),
      input({
        messages: [
          { role: 'USER', content: 'a' },
          { role: 'USER', content: 'b' },
        ],
      }),
    ];
    const equal = others.filter((other) => JSON.stringify(other) === JSON.stringify(input(more)));
    expect(others.filter((other) => inputHash(other) === inputHash(input(more)))).toEqual(equal);
  });

  it('sees null in the JSON of a tool and of a response format, where it means something', () => {
    expect(inputHash(input(tool({ default: null })))).not.toBe(inputHash(input(tool({}))));
    expect(inputHash(input(tool({ enum: [null, 'a'] })))).not.toBe(inputHash(input(tool({ enum: ['a'] }))));
    const format = (schema: unknown): Partial<ChatInput> => ({ responseFormat: { type: 'JSON_SCHEMA', schema } });
    expect(inputHash(input(format({ const: null })))).not.toBe(inputHash(input(format({}))));
  });
});
