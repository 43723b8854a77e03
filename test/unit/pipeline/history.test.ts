import type { ChatInput } from '../../../src/domain/chat';
import type { Message } from '../../../src/domain/conversation';
import { countPromptTokens, fitHistory } from '../../../src/services/pipeline/operations/history';

const message = (role: Message['role'], content: string | null, changes: Partial<Message> = {}): Message => ({
  id: 'msg',
  conversationId: 'conv',
  role,
  content,
  reasoning: null,
  parts: [],
  toolCalls: [],
  toolCallId: null,
  name: null,
  createdAt: new Date(0),
  complete: true,
  superseded: false,
  callId: null,
  ...changes,
});
const input: ChatInput = { scenario: 'DEFAULT', messages: [{ role: 'USER', content: 'and now?' }] };
/** About 100 tokens. */
const long = (word: string): string => `${word} `.repeat(100);

describe('fitHistory', () => {
  const turns = [
    message('SYSTEM', 'be kind'),
    ...['one', 'two', 'three'].flatMap((w) => [message('USER', long(w)), message('ASSISTANT', long(w))]),
  ];

  it('sends everything that fits, also to a model whose context nobody knows', () => {
    expect(fitHistory(turns, input, 100_000, 100)).toMatchObject({ omitted: 0, tooLong: null });
    expect(fitHistory(turns, input, null, 100).history).toHaveLength(7);
  });

  it('leaves out the oldest turns, whole, and never the system message', () => {
    const { history, omitted, tooLong } = fitHistory(turns, input, 600, 100);
    expect(tooLong).toBeNull();
    expect(omitted).toBe(2);
    expect(history[0]!.content).toBe('be kind');
    expect(history[1]!.content).toMatch(/^two/);
    expect(countPromptTokens([...history, ...input.messages], input)).toBeLessThanOrEqual(500);
  });

  it('leaves no tool result without its call', () => {
    const withTool = [
      message('USER', long('one')),
      message('ASSISTANT', null, { toolCalls: [{ toolCallId: 't', name: 'f', arguments: '{}' }] }),
      message('TOOL', long('r'), { toolCallId: 't' }),
      message('ASSISTANT', 'so'),
      message('USER', 'two'),
      message('ASSISTANT', 'fine'),
    ];
    const { history, omitted } = fitHistory(withTool, input, 200, 100);
    expect(omitted).toBe(4);
    expect(history.map((m) => m.role)).toEqual(['USER', 'ASSISTANT']);
  });

  it('says that new messages alone are too long, with the numbers', () => {
    const { tooLong, omitted } = fitHistory(
      turns,
      { ...input, messages: [{ role: 'USER', content: long('x').repeat(20) }] },
      600,
      100,
    );
    expect(omitted).toBe(6);
    expect(tooLong).toMatchObject({ allowedTokens: 600 });
    expect(tooLong!.countedTokens).toBeGreaterThan(2_000);
  });

  it('does not send an answer that was cut before it said anything', () => {
    expect(
      fitHistory([message('USER', 'a'), message('ASSISTANT', null, { complete: false })], input, null, 1).history,
    ).toHaveLength(1);
  });
});
