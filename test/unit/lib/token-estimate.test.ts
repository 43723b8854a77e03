import { countEach, countTokens } from '../../../src/lib/token-estimate';
import { slowness } from '../../support/slowness';

describe('countTokens', () => {
  it('counts as the vocabulary does', () => {
    expect(countTokens('')).toBe(0);
    expect(countTokens('hello world')).toBe(2);
  });

  it('takes the names of special tokens for text', () => {
    expect(countTokens('<|endoftext|><|im_start|>')).toBeGreaterThan(2);
  });

  it.each([
    ['a word without an end', 'a'.repeat(1_000_000)],
    ['nothing but spaces', ' '.repeat(1_000_000)],
    ['a language without spaces', '堰は川の水位を測る低いダムです。'.repeat(60_000)],
  ])('is done with %s before anybody notices', (_name, text) => {
    const startedAt = performance.now();
    expect(countTokens(text)).toBeGreaterThan(1_000);
    // Bounded, not timed: the fault that this guards against took minutes.
    expect(performance.now() - startedAt).toBeLessThan(5_000 * slowness());
  });
});

it('spends no more time on many texts together than on one', () => {
  const rare = Array.from({ length: 100_000 }, (_, i) => String.fromCharCode(0x4e00 + ((i * 7_919) % 20_000))).join('');
  const startedAt = performance.now();
  const counts = countEach(Array.from({ length: 27 }, () => rare));
  expect(performance.now() - startedAt).toBeLessThan(2_000 * slowness());
  // Rare signs are one to two tokens each: the estimate of a part is one of the whole.
  for (const tokens of counts) expect(tokens / rare.length).toBeCloseTo(countEach([rare])[0]! / rare.length, 0);
});
