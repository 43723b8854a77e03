import { fallbacksOf, readRouting } from '../../../src/services/catalog/proxy-fallbacks';

describe("what the proxy answers with in a model's place", () => {
  const rules = (routing: Parameters<typeof readRouting>[0]) => readRouting(routing);

  it('is the fallbacks of all kinds, and theirs, nearest first and each once', () => {
    const known = rules({
      fallbacks: [{ a: ['b', 'c'] }, { b: ['d'] }],
      context_window_fallbacks: [{ a: ['long'] }],
      content_policy_fallbacks: [{ d: ['mild', 'c'] }],
    });
    expect(fallbacksOf('a', known)).toEqual(['b', 'c', 'long', 'd', 'mild']);
    expect(fallbacksOf('c', known)).toEqual([]);
  });

  it('ends where fallbacks go round in a circle, and never names the model itself', () => {
    expect(fallbacksOf('a', rules({ fallbacks: [{ a: ['b'] }, { b: ['a', 'c'] }, { c: ['a'] }] }))).toEqual(['b', 'c']);
  });

  it('is the default ones for a model without a rule of its own, also where that is itself a fallback', () => {
    const known = rules({ fallbacks: [{ a: ['b'] }], default_fallbacks: ['house'] });
    expect(fallbacksOf('x', known)).toEqual(['house']);
    expect(fallbacksOf('a', known)).toEqual(['b', 'house']);
    expect(
      fallbacksOf('x', rules({ fallbacks: [{ '*': ['house'] }, { x: ['y'] }, { y: ['z'] }, { z: ['y'] }] })),
    ).toEqual(['y', 'z']);
  });

  it('takes a rule for the name with or without its provider', () => {
    const known = rules({ fallbacks: [{ 'gpt-4o': ['a'] }, { 'openai/gpt-5': ['b'] }] });
    expect(fallbacksOf('openai/gpt-4o', known)).toEqual(['a']);
    expect(fallbacksOf('gpt-5', known)).toEqual(['b']);
    expect(fallbacksOf('gpt-5-mini', known)).toEqual([]);
  });

  it('follows other names of a model', () => {
    const known = rules({
      fallbacks: [{ big: ['small'] }],
      model_group_alias: { best: 'big', hidden: { model: 'small', hidden: true } },
    });
    expect(fallbacksOf('best', known)).toEqual(['big', 'small']);
    expect(fallbacksOf('hidden', known)).toEqual(['small']);
  });

  it('leaves out what is in no shape that the proxy takes', () => {
    const known = rules({
      fallbacks: ['any', 7, null, { a: 'b' }, { a2: [{ model: 'c', temperature: 0 }, { messages: [] }, 3] }],
      context_window_fallbacks: null,
      content_policy_fallbacks: 'x',
      default_fallbacks: {},
      model_group_alias: { q: 5 },
    });
    expect(fallbacksOf('a', known)).toEqual([]);
    expect(fallbacksOf('a2', known)).toEqual(['c', 'any']);
    expect(fallbacksOf('z', known)).toEqual(['any']);
    expect(fallbacksOf('z', rules({}))).toEqual([]);
  });
});
