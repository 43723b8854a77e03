import type { BudgetPeriod } from '../../../src/domain/budget';

const formats = new Map<string, Intl.DateTimeFormat>();

/**
 * The local date (YYYY-MM-DD) on which the period of a moment began, by ICU's time zones: another source than Postgres
 * has.
 */
export function periodDate(period: BudgetPeriod, at: string | Date, zone: string): string {
  let format = formats.get(zone);
  if (!format)
    formats.set(
      zone,
      (format = new Intl.DateTimeFormat('en-CA', {
        timeZone: zone,
        year: 'numeric',
        month: '2-digit',
        day: '2-digit',
      })),
    );
  const date = format.format(new Date(at));
  if (period === 'DAY') return date;
  if (period === 'MONTH') return `${date.slice(0, 7)}-01`;
  const day = new Date(`${date}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 6) % 7));
  return day.toISOString().slice(0, 10);
}
