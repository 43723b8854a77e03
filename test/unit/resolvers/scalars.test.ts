import { DateTime, DecimalScalar, SafeInt } from '../../../src/resolvers/types/scalars';

describe('DateTime', () => {
  it.each([
    ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
    ['2026-01-31T12:00:00.123456+02:00', '2026-01-31T10:00:00.123Z'],
    ['2024-02-29T00:00:00-00:30', '2024-02-29T00:30:00.000Z'],
    ['0001-01-01T00:00:00z', '0001-01-01T00:00:00.000Z'],
  ])('reads %s and writes it in UTC', (text, utc) => {
    expect(DateTime.serialize(DateTime.parseValue(text))).toBe(utc);
  });

  it.each([
    '2026-01-31',
    '2026-01-31T12:00:00',
    '2026-02-30T12:00:00Z',
    '2026-13-01T00:00:00Z',
    '2025-02-29T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '0000-01-01T00:00:00Z',
    ' 2026-01-01T00:00:00Z',
    'now',
    '',
    0,
    null,
  ])('refuses %j', (value) => {
    expect(() => DateTime.parseValue(value)).toThrow('RFC 3339');
  });
});

describe('Decimal', () => {
  it.each([
    ['1.50', '1.5'],
    ['-0', '0'],
    ['007', '7'],
    ['0.000000000000000000000000000001', '0.000000000000000000000000000001'],
  ])('reads %s as %s', (text, canonical) => {
    expect(DecimalScalar.parseValue(text)).toBe(canonical);
  });

  it.each([1.5, 1, '1e3', '1,5', '.5', '5.', '', 'NaN', '+1', '1'.repeat(31), null])('refuses %j', (value) => {
    expect(() => DecimalScalar.parseValue(value)).toThrow('Decimal');
  });

  it('writes what Postgres gives without its trailing zeros', () => {
    expect(DecimalScalar.serialize('0.0300')).toBe('0.03');
  });
});

describe('SafeInt', () => {
  it('is a JSON number beyond 32 bits', () => {
    expect(SafeInt.serialize(2 ** 53 - 1)).toBe(9_007_199_254_740_991);
  });
});
