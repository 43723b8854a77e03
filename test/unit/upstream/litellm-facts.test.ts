import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(__dirname, '..', '..', '..');

/** Numbers of the list items of docs/litellm.md. */
const facts = [...readFileSync(path.join(ROOT, 'docs', 'litellm.md'), 'utf8').matchAll(/^(\d+)\. \*\*/gm)].map(
  ([, number]) => Number(number),
);

/** Numbers at the beginning of the names of tests on the real proxy: `it('[12, 13] …`. */
const tested = readdirSync(path.join(ROOT, 'test', 'litellm'), { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => [
    ...readFileSync(path.join(ROOT, 'test', 'litellm', file), 'utf8').matchAll(/\(\s*(['"`])\[(\d+(?:, \d+)*)\] /g),
  ])
  .flatMap(([, , numbers]) => numbers!.split(', ').map(Number));

describe('docs/litellm.md', () => {
  it('numbers its facts from 1 on', () => {
    expect(facts.length).toBeGreaterThan(40);
    expect(facts).toEqual(facts.map((_, index) => index + 1));
  });

  it('has a test on the real proxy for every fact', () => {
    expect(facts.filter((fact) => !tested.includes(fact))).toEqual([]);
  });

  it('has every fact that a test names', () => {
    expect([...new Set(tested)].filter((number) => !facts.includes(number))).toEqual([]);
  });
});
