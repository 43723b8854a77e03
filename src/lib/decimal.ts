/**
 * Exact decimal numbers for money: a whole number of 10^-scale units in a BigInt. Never a float. Only what prices and
 * costs need:
 * parse, add, multiply, compare, print. Reading takes exponents (a proxy writes 1.5e-07); printing never gives them.
 */
export class Decimal {
  static readonly ZERO = new Decimal(0n, 0);

  private constructor(
    private readonly units: bigint,
    private readonly scale: number,
  ) {}

  /**
   * Throws a RangeError for anything that is not a finite decimal number, or has more than 100 digits on either side of
   * the point.
   */
  static parse(text: string | number | bigint): Decimal {
    const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/.exec(String(text).trim());
    if (!match || !(match[2] || match[3]))
      throw new RangeError(`not a decimal number: ${JSON.stringify(String(text).slice(0, 40))}`);
    const fraction = match[3] ?? '';
    const scale = fraction.length - Number(match[4] ?? 0);
    if (Math.abs(scale) > 100 || match[2]!.length > 100)
      throw new RangeError('a decimal number of this size is not supported');
    const units = BigInt(`${match[1] === '-' ? '-' : ''}${match[2] || '0'}${fraction}`);
    return scale < 0 ? new Decimal(units * 10n ** BigInt(-scale), 0) : new Decimal(units, scale);
  }

  plus(other: Decimal): Decimal {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.at(scale) + other.at(scale), scale);
  }

  minus(other: Decimal): Decimal {
    return this.plus(new Decimal(-other.units, other.scale));
  }

  times(other: Decimal | number): Decimal {
    const by = typeof other === 'number' ? Decimal.parse(other) : other;
    return new Decimal(this.units * by.units, this.scale + by.scale);
  }

  compare(other: Decimal): -1 | 0 | 1 {
    const scale = Math.max(this.scale, other.scale);
    const difference = this.at(scale) - other.at(scale);
    return difference === 0n ? 0 : difference < 0n ? -1 : 1;
  }

  get isNegative(): boolean {
    return this.units < 0n;
  }

  /** Plain digits: no exponent, no trailing zeros, no "-0". */
  toString(): string {
    const negative = this.units < 0n;
    const digits = (negative ? -this.units : this.units).toString().padStart(this.scale + 1, '0');
    const whole = digits.slice(0, digits.length - this.scale);
    const fraction = digits.slice(digits.length - this.scale).replace(/0+$/, '');
    return `${negative ? '-' : ''}${whole}${fraction ? `.${fraction}` : ''}`;
  }

  private at(scale: number): bigint {
    return this.units * 10n ** BigInt(scale - this.scale);
  }
}

/** A decimal text in our one written form (Postgres prints `numeric` with its trailing zeros). */
export const canonicalDecimal = (text: string | number): string => Decimal.parse(text).toString();
