import { canonicalDecimal, Decimal } from '../../../src/lib/decimal';

describe('Decimal', () => {
  it.each([
    ['0.1', '0.1'],
    ['1.5e-07', '0.00000015'],
    ['2E3', '2000'],
    ['000.5000', '0.5'],
    ['-0.0', '0'],
    ['.5', '0.5'],
    ['5.', '5'],
    ['+1', '1'],
    ['123456789012345678901234567890.123456789', '123456789012345678901234567890.123456789'],
  ])('writes %s as %s', (text, expected) => {
    expect(canonicalDecimal(text)).toBe(expected);
  });

  it.each(['', '.', 'abc', '1e', '1e9999', 'NaN', 'Infinity', '1,5', '0x10', '1 2'])('refuses %j', (text) => {
    expect(() => Decimal.parse(text)).toThrow(RangeError);
  });

  it('adds and multiplies without losing a digit where floats do', () => {
    expect(Decimal.parse('0.1').plus(Decimal.parse('0.2')).toString()).toBe('0.3');
    expect(Decimal.parse('0.00000015').times(1_234_567).toString()).toBe('0.18518505');
    expect(Decimal.parse('1').minus(Decimal.parse('0.9999999999999999999')).toString()).toBe('0.0000000000000000001');
  });

  it('compares by value, not by writing', () => {
    expect(Decimal.parse('1.50').compare(Decimal.parse('1.5'))).toBe(0);
    expect(Decimal.parse('-1').compare(Decimal.ZERO)).toBe(-1);
    expect(Decimal.parse('-1').isNegative).toBe(true);
  });
});
