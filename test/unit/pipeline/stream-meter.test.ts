import { StreamMeter, fuseLimit } from '../../../src/services/pipeline/stream-meter';
import { countTokens } from '../../../src/lib/token-estimate';
import type { Piece } from '../../../src/services/pipeline/operation';

const text = (value: string): Piece => ({ kind: 'TextDelta', text: value });
interface Scene {
  meter: StreamMeter;
  runaways: { tokens: number; limit: number }[];
  progress: { output: number; reasoning: number }[];
  at(ms: number): void;
}

function meterOf(maxTokens: number, progress = false): Scene {
  let now = 0;
  const scene: Omit<Scene, 'meter'> = { runaways: [], progress: [], at: (ms) => (now = ms) };
  const meter = new StreamMeter({
    maxTokens,
    onRunaway: (counted) => scene.runaways.push(counted),
    onProgress: progress ? (counted) => scene.progress.push(counted) : null,
    now: () => now,
  });
  return { ...scene, meter };
}
/** Feeds pieces until the meter has had enough: how many. */
const feed = ({ meter, runaways }: Scene, piece: Piece, most: number): number => {
  let count = 0;
  while (count < most && runaways.length === 0) {
    meter.piece(piece);
    count += 1;
  }
  return count;
};

describe('the fuse', () => {
  it.each([1, 100, 1_000, 10_000])(
    'cuts a stream of single tokens a little beyond the limit of max_tokens %d, and says so once',
    (maxTokens) => {
      const scene = meterOf(maxTokens);
      const limit = fuseLimit(maxTokens);
      const pieces = feed(scene, text(' word'), 4 * limit);
      expect(pieces).toBeGreaterThan(limit);
      // Of 5 characters: the smallest step is of 52.
      expect(pieces).toBeLessThanOrEqual(limit + 52);
      for (let i = 0; i < 1_000; i += 1) scene.meter.piece(text(' word'));
      expect(scene.runaways).toEqual([{ tokens: expect.any(Number), limit }]);
      expect(scene.runaways[0]!.tokens).toBeGreaterThan(limit);
    },
  );

  it('counts reasoning, and what tools are called with, as the answer is counted', () => {
    for (const piece of [
      { kind: 'ReasoningDelta', text: ' word' },
      { kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: ' word' },
    ] as Piece[]) {
      expect(feed(meterOf(100), piece, 10_000)).toBeLessThanOrEqual(fuseLimit(100) + 52);
    }
    // Calls without a word in them.
    expect(
      feed(meterOf(100), { kind: 'ToolCallDelta', index: 0, toolCallId: 'c', name: '', arguments: '' }, 10_000),
    ).toBeLessThanOrEqual(fuseLimit(100));
  });

  it.each([
    ['English', 'The quick brown fox jumps over the lazy dog, and then it sleeps. '],
    ['German', 'Die Übergabe der Prüfungsunterlagen erfolgt am nächsten Werktag um zwölf. '],
    ['code', 'for (let i = 0; i < items.length; i += 1) { total += items[i].price * 1.19; }\n'],
    ['Chinese', '我们今天去公园散步,然后回家做饭。'],
    ['Japanese', '明日の朝、駅前の喫茶店で会いましょう。'],
    ['Hindi', 'हम आज बाज़ार जा रहे हैं और शाम को लौटेंगे। '],
    ['Amharic', 'ዛሬ ወደ ገበያ እንሄዳለን እና ማታ እንመለሳለን። '],
    ['figures', '3.14159 26535 89793 23846 '],
  ])(
    'lets a text of %s have all of its max_tokens, also where a vocabulary makes a fifth fewer of it than ours',
    (_, sentence) => {
      const answer = sentence.repeat(60);
      const tokens = countTokens(answer);
      const scene = meterOf(Math.floor(tokens * 0.82));
      for (let at = 0; at < answer.length; at += 4) scene.meter.piece(text(answer.slice(at, at + 4)));
      expect(scene.runaways).toEqual([]);
      // And twice of that is too much for any.
      const more = meterOf(Math.floor(answer.length / 5));
      expect(feed(more, text(answer.slice(0, 400)), 1_000)).toBeLessThan(1_000);
    },
  );

  it('counts nothing of an answer that is far from its limit', () => {
    const scene = meterOf(4_096);
    const count = jest.spyOn(scene.meter as unknown as { count(): void }, 'count');
    for (let i = 0; i < 1_500; i += 1) scene.meter.piece(text(' word'));
    expect(count).not.toHaveBeenCalled();
    for (let i = 0; i < 1_500; i += 1) scene.meter.piece(text(' word'));
    expect(count).toHaveBeenCalledTimes(1);
  });
});

describe('progress', () => {
  it('is told at most once a second, while pieces come, with what they are in tokens', () => {
    const scene = meterOf(10_000, true);
    for (let ms = 0; ms <= 2_500; ms += 100) {
      scene.at(ms);
      scene.meter.piece(text(' word'));
      if (ms === 500) scene.meter.piece({ kind: 'ReasoningDelta', text: ' Hm, let me see' });
    }
    expect(scene.progress).toEqual([
      { output: 11, reasoning: 6 },
      { output: 21, reasoning: 6 },
    ]);
    // Silence is no progress, and the next piece is.
    scene.at(60_000);
    expect(scene.progress).toHaveLength(2);
    scene.meter.piece(text(' word'));
    expect(scene.progress).toHaveLength(3);
  });

  it('costs nothing where nobody asked: the clock is not looked at', () => {
    const now = jest.fn(() => 0);
    const meter = new StreamMeter({ maxTokens: 100, onRunaway: () => {}, onProgress: null, now });
    meter.piece(text('a'));
    expect(now).not.toHaveBeenCalled();
  });
});
