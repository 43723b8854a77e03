import { buildSchema, graphqlSync, parse, type GraphQLResolveInfo } from 'graphql';
import { compileQuery, isCompiledQuery } from 'graphql-jit';
import { namesBelow } from '../../../src/resolvers/selection';

const schema = buildSchema(
  'type Query { usage: Report } type Report { totals: Figures rows: [Row] } type Row { at: Int figures: Figures } type Figures { calls: Int cost: Int p50: Int p95: Int }',
);
const seen = (document: string): string[] => {
  const found: string[][] = [];
  const rootValue = {
    usage: (_args: unknown, _context: unknown, info: GraphQLResolveInfo) => (
      found.push([...namesBelow(info)].sort()),
      null
    ),
  };
  expect(graphqlSync({ schema, source: document, rootValue }).errors).toBeUndefined();
  // As compiled operations hand it over, the same.
  const jit = buildSchema(
    'type Query { usage: Report } type Report { totals: Figures rows: [Row] } type Row { at: Int figures: Figures } type Figures { calls: Int cost: Int p50: Int p95: Int }',
  );
  jit.getQueryType()!.getFields().usage!.resolve = (_root, _args, _context, info) => (
    found.push([...namesBelow(info)].sort()),
    null
  );
  const compiled = compileQuery(jit, parse(document));
  if (!isCompiledQuery(compiled)) throw new Error('not compiled');
  compiled.query(undefined, undefined, { no: false });
  expect(found[1]).toEqual(found[0]);
  return found[0]!;
};

it('finds the fields below, wherever they stand', () => {
  expect(seen('{ usage { totals { calls } rows { figures { cost } } } }')).toEqual([
    'calls',
    'cost',
    'figures',
    'rows',
    'totals',
  ]);
  expect(
    seen(
      '{ usage { ...A } } fragment A on Report { totals { ...B } } fragment B on Figures { p50 ... on Figures { calls } }',
    ),
  ).toEqual(['calls', 'p50', 'totals']);
  expect(seen('{ usage { totals { x: p95 } } usage { rows { at } } }')).toEqual(['at', 'p95', 'rows', 'totals']);
});

it('takes what may be left out for something that is asked for', () => {
  expect(
    seen(
      'query ($no: Boolean = false) { usage { totals { calls p95 @include(if: $no) ... @skip(if: true) { cost } } } }',
    ),
  ).toEqual(['calls', 'cost', 'p95', 'totals']);
});
