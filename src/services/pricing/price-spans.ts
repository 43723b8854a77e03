import { holdsAt } from './price-lookup';
import type { PriceRecord } from './pricing.types';

/**
 * A time in which the same records hold, none of which begins or ends within. Milliseconds since 1970; Infinity: no
 * end.
 */
export interface Holding {
  startsAtMs: number;
  endsAtMs: number;
  records: PriceRecord[];
}

/**
 * The time from `from` until before `to`, cut wherever one of the records begins or ends, with those that hold, by
 * number. In one sweep: a long book has as many cuts as records.
 */
export function* holdings(records: readonly PriceRecord[], from: number, to: number): Generator<Holding> {
  const begins = [...records].sort((a, b) => a.effectiveFrom.getTime() - b.effectiveFrom.getTime());
  const cuts = new Set([from, to]);
  for (const record of records)
    for (const at of [record.effectiveFrom.getTime(), endOf(record)]) if (at > from && at < to) cuts.add(at);
  const times = [...cuts].sort((a, b) => a - b);
  let holding: PriceRecord[] = [];
  let next = 0;
  for (const [i, startsAtMs] of times.slice(0, -1).entries()) {
    holding = holding.filter((record) => endOf(record) > startsAtMs);
    for (; next < begins.length && begins[next]!.effectiveFrom.getTime() <= startsAtMs; next += 1)
      if (holdsAt(begins[next]!, startsAtMs)) holding.push(begins[next]!);
    yield { startsAtMs, endsAtMs: times[i + 1]!, records: [...holding].sort((a, b) => a.number - b.number) };
  }
}

/** Two divisions of the same time as one. */
export function* overlaid(
  below: readonly Holding[],
  above: readonly Holding[],
): Generator<{ startsAtMs: number; endsAtMs: number; below: PriceRecord[]; above: PriceRecord[] }> {
  for (let i = 0, j = 0; i < below.length && j < above.length;) {
    const [one, other] = [below[i]!, above[j]!];
    const endsAtMs = Math.min(one.endsAtMs, other.endsAtMs);
    yield {
      startsAtMs: Math.max(one.startsAtMs, other.startsAtMs),
      endsAtMs,
      below: one.records,
      above: other.records,
    };
    if (one.endsAtMs === endsAtMs) i += 1;
    if (other.endsAtMs === endsAtMs) j += 1;
  }
}

const endOf = (record: PriceRecord): number => record.effectiveTo?.getTime() ?? Infinity;
