import type { ExecutionResult } from 'graphql';
import { boundedResult, MAX_ANSWER_BYTES, sizeOf, jsonBytes } from '../../../src/server/graphql/response-limit';

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

describe('the size of an answer', () => {
  it.each([
    ['plain'],
    ['"quoted" \\ and \n\r\t\b\f'],
    ['\u0000\u0001\u000b\u001f'],
    ['naïve ßé ×'],
    ['漢字かな'],
    ['🙂👍🏽'],
    ['\ud800 alone \udc00 \udc00\ud800'],
    [''],
  ])('is counted as JSON writes it: %j', (text) => {
    expect(jsonBytes(text) + 2).toBe(bytesOf(text));
  });

  it('is never taken for less than it is', () => {
    const values = [
      null,
      true,
      1.5,
      -1e300,
      [],
      {},
      ['a', [1, null]],
      { a: { b: ['c', { d: 'é🙂\n' }] }, at: new Date(0) },
    ];
    for (const value of values) expect(sizeOf(value, jsonBytes)).toBeGreaterThanOrEqual(bytesOf(value));
  });

  it.each([
    ['x', 1],
    ['é', 2],
    ['漢', 3],
    ['\u0001', 6],
  ])('is bounded in bytes, whatever the characters: %j', (character, bytes) => {
    const fitting = { data: { text: character.repeat((MAX_ANSWER_BYTES - 1_000) / bytes) } };
    expect(boundedResult(fitting)).toBe(fitting);
    const refused: ExecutionResult = boundedResult({ data: { text: character.repeat(MAX_ANSWER_BYTES / bytes) } });
    expect([refused.data, refused.errors!.map(({ extensions }) => extensions)]).toEqual([
      null,
      [{ code: 'BAD_USER_INPUT' }],
    ]);
  });
});
