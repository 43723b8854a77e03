import { Decimal } from '../../lib/decimal';

/** The proxy adds up floats: costs that agree to a part in 10^12 of the greater one are the same. */
const ONE_PART = Decimal.parse('1e12');

/** Dollars, decimal texts. */
export function sameCost(a: string, b: string): boolean {
  const [x, y] = [Decimal.parse(a), Decimal.parse(b)];
  const [less, more] = x.compare(y) < 0 ? [x, y] : [y, x];
  return more.minus(less).times(ONE_PART).compare(more) <= 0;
}
