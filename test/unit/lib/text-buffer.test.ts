import { TextBuffer } from '../../../src/lib/text-buffer';

describe('a text that grows by pieces', () => {
  it.each([0, 1, 63, 64, 65, 4_095, 4_096, 4_097, 10_000])('has all of %d of them, in order', (count) => {
    const pieces = Array.from({ length: count }, (_, i) => `${i} `);
    const buffer = new TextBuffer();
    for (const piece of pieces) buffer.add(piece);
    expect(buffer.toString()).toBe(pieces.join(''));
    expect(buffer.length).toBe(pieces.join('').length);
  });

  it('begins anew when it was taken', () => {
    const buffer = new TextBuffer();
    for (let i = 0; i < 100; i += 1) buffer.add('x');
    expect(buffer.take()).toBe('x'.repeat(100));
    expect([buffer.length, buffer.toString()]).toEqual([0, '']);
    buffer.add('y');
    expect(buffer.take()).toBe('y');
  });

  it('keeps few strings of many pieces', () => {
    const buffer = new TextBuffer();
    for (let i = 0; i < 100_000; i += 1) buffer.add('x');
    const { levels } = buffer as unknown as { levels: string[][] };
    expect(levels.flat().length).toBeLessThan(4 * 64);
  });
});
