import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const TEST = path.join(__dirname, '..');
const { run, leave } = JSON.parse(readFileSync(path.join(TEST, 'dates.json'), 'utf8')) as {
  run: string[];
  leave: Record<string, string>;
};
const suites = readdirSync(TEST, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll(path.sep, '/'))
  .filter((file) => file.endsWith('.test.ts'));
/** Sets the clock, or reckons with the time. What only measures a duration does not. */
const ASKS_THE_TIME = /setClock\(|weir\.now\(\)|\.clock\(|new Date\(\)|Date\.now\(\) [-+]|Date\.now\(\)\)/;

describe('test/dates.json, what npm run test:dates runs', () => {
  it('names every suite that asks for the time: to be run under other dates, or left with a reason', () => {
    const asking = suites.filter(
      (file) => ASKS_THE_TIME.test(readFileSync(path.join(TEST, file), 'utf8')) && !__filename.endsWith(file),
    );
    expect(asking.length).toBeGreaterThan(40);
    expect(asking.filter((file) => !run.includes(file) && !(file in leave))).toEqual([]);
  });

  it('names suites that there are, and each once', () => {
    expect([...run, ...Object.keys(leave)].filter((file) => !suites.includes(file))).toEqual([]);
    expect(run.filter((file, i) => run.indexOf(file) !== i || file in leave)).toEqual([]);
  });
});
