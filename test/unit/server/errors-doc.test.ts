import { readFileSync } from 'node:fs';
import { buildSchema, isEnumType } from 'graphql';
import { errorsDocument } from '../../../scripts/errors-document';

describe('docs/errors.md', () => {
  it('is what the tables of the code say (node scripts/errors-doc.mjs writes it)', () => {
    expect(readFileSync('docs/errors.md', 'utf8')).toBe(errorsDocument());
  });

  it('names refusals as the graph does', () => {
    const schema = buildSchema(readFileSync('schema/schema.graphql', 'utf8'));
    const type = schema.getType('RefusalCode');
    const known = new Set(isEnumType(type) ? type.getValues().map(({ name }) => name) : []);
    const rows = [...errorsDocument().matchAll(/^\| `([A-Z_]+)` \| `([A-Za-z]+)` \|/gm)];
    expect(rows.length).toBeGreaterThan(5);
    for (const [, code, name] of rows)
      expect([code, known.has(code!), Boolean(schema.getType(name!))]).toEqual([code, true, true]);
  });
});
