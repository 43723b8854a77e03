import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLJSON, GraphQLSafeInt } from 'graphql-scalars';
import { canonicalDecimal } from '../../lib/decimal';

const RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i;

function parseDateTime(value: unknown): Date {
  const match = typeof value === 'string' ? RFC_3339.exec(value) : null;
  const [year, month, day] = match ? [Number(match[1]), Number(match[2]), Number(match[3])] : [0, 0, 0];
  // Date.parse rolls 30 February over into March: the calendar day is checked by itself. Year 0 has no form in
  // Postgres.
  const calendar = new Date(Date.UTC(2000, month - 1, day));
  calendar.setUTCFullYear(year, month - 1, day);
  const date = new Date(typeof value === 'string' ? value : Number.NaN);
  if (
    !match ||
    year === 0 ||
    calendar.getUTCMonth() !== month - 1 ||
    calendar.getUTCDate() !== day ||
    Number.isNaN(date.getTime())
  ) {
    throw new GraphQLError('DateTime: expected a time in RFC 3339 with its zone, as in "2026-01-31T12:00:00Z"');
  }
  return date;
}

/** The only date scalar of the graph. In and out as RFC 3339; inside a `Date`, to the millisecond. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  description: 'RFC 3339, UTC. Input may have any offset; output always ends in Z.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  extensions: { codegenScalarType: 'string' },
  serialize(value) {
    const date = value instanceof Date ? value : new Date(value as string | number);
    if (Number.isNaN(date.getTime())) throw new GraphQLError('DateTime: not a time');
    return date.toISOString();
  },
  parseValue: parseDateTime,
  parseLiteral: (node) => parseDateTime(node.kind === Kind.STRING ? node.value : undefined),
});

/** Plain digits only: an exponent or a sign of its own would be a second written form of the same amount. */
const PLAIN_DECIMAL = /^-?\d{1,30}(\.\d{1,30})?$/;

function parseDecimal(value: unknown): string {
  if (typeof value !== 'string' || !PLAIN_DECIMAL.test(value)) {
    throw new GraphQLError(
      'Decimal: expected a decimal number as a string without exponent, as in "12.5", with at most 30 digits on each side of the point',
    );
  }
  return canonicalDecimal(value);
}

/**
 * Money and rates: an exact decimal string, inside and outside. A JSON number is refused, because it has been a float
 * somewhere.
 */
export const DecimalScalar = new GraphQLScalarType<string, string>({
  name: 'Decimal',
  description: 'An exact decimal number as a string, without exponent or trailing zeros. Money is in US dollars.',
  extensions: { codegenScalarType: 'string' },
  serialize: (value) => canonicalDecimal(value as string),
  parseValue: parseDecimal,
  parseLiteral: (node) => parseDecimal(node.kind === Kind.STRING ? node.value : undefined),
});

export const SafeInt = new GraphQLScalarType({
  ...GraphQLSafeInt.toConfig(),
  name: 'SafeInt',
  description: 'A whole number up to 2^53 as a JSON number.',
});

export const JsonScalar = new GraphQLScalarType({
  ...GraphQLJSON.toConfig(),
  name: 'JSON',
  description: 'Any JSON value.',
});
