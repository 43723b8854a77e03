import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { blocksOf } from '../../support/doc-blocks';

const ROOT = path.join(__dirname, '..', '..', '..');
const FILE = /^\/\/ (examples\/\S+)\n/;

describe('docs/clients.md', () => {
  const blocks = blocksOf('docs/clients.md');

  it('shows the files of examples/clients as they are tested, all of them', () => {
    const shown = blocks.flatMap(({ text }) => {
      const file = FILE.exec(text)?.[1];
      return file ? [{ file, text: text.replace(FILE, '') }] : [];
    });
    for (const { file, text } of shown)
      expect({ file, text }).toEqual({ file, text: readFileSync(path.join(ROOT, file), 'utf8').trimEnd() });
    expect(shown.map(({ file }) => path.basename(file)).sort()).toEqual(
      readdirSync(path.join(ROOT, 'examples', 'clients')).sort(),
    );
  });

  it('has no code that no test runs', () =>
    expect(blocks.filter(({ text, run }) => !FILE.test(text) && run === null)).toEqual([]));
});

describe('examples', () => {
  it('fit the types in their comments, and those of the libraries', () => {
    execFileSync(
      process.execPath,
      [path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', path.join(ROOT, 'examples')],
      { stdio: 'pipe', encoding: 'utf8' },
    );
  });
});
