/**
 * Buckets of a histogram of milliseconds, and the decimal digits that each has in the number that holds them all: what
 * `weir.histogram` makes.
 */
const BUCKETS = 64;
const DIGITS = 12;

/**
 * What a bucket stands for, in milliseconds: the middle of its bounds on a logarithmic scale. From 10 ms up no value of
 * a bucket is further from it than 9.1 % (the bounds grow by the fourth root of two), below not further than 5 ms; the
 * last one is open to above.
 */
const REPRESENTATIVES: readonly number[] = [
  5, 10.5, 13, 15.5, 18, 21.4, 25.9, 30.9, 36.4, 43.4, 51.8, 61.8, 73.3, 87.2, 104.2, 123.6, 146.5, 174.4, 207.8, 247.1,
  293.5, 348.7, 415, 493.7, 586.9, 697.9, 830.4, 987.3, 1173.7, 1395.8, 1660.3, 1974.2, 2347.2, 2791.5, 3320.1, 3948.2,
  4694.9, 5583.1, 6639.6, 7895.9, 9389.8, 11166.6, 13279.7, 15792.2, 18780, 22333.2, 26559.3, 31584.9, 37560.5, 44666.8,
  53118.5, 63169.3, 75120.9, 89334, 106237, 126338, 150241.8, 178668.5, 212474, 252675.5, 300483.5, 357337.4, 424948.5,
  463410,
];

/**
 * Percentiles of a packed histogram, in milliseconds: each is what the first bucket stands for up to which at least so
 * many percent of the values lie. null without values. `packed` is the number as Postgres prints it, `percents` are
 * whole and ascending.
 */
export function percentilesOf(packed: string, count: number, percents: readonly number[]): (number | null)[] {
  if (count <= 0) return percents.map(() => null);
  let bucket = -1;
  let seen = 0;
  return percents.map((percent) => {
    // Divided last: a product of whole numbers is exact, a share like 0.95 is not.
    const needed = Math.ceil((percent * count) / 100);
    while (seen < needed && bucket < BUCKETS - 1) {
      bucket += 1;
      seen += numberAt(packed, packed.length - (bucket + 1) * DIGITS);
    }
    return REPRESENTATIVES[Math.max(bucket, 0)]!;
  });
}

/**
 * The number that the digits from a place on make; what is before the first digit is nothing. Without a text of its
 * own: a report has a hundred thousand of them.
 */
function numberAt(digits: string, start: number): number {
  let value = 0;
  for (let at = Math.max(start, 0); at < start + DIGITS; at += 1) value = value * 10 + digits.charCodeAt(at) - 48;
  return value;
}
