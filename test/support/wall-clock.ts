import type { UsageInterval } from '../../src/services/usage/usage.types';

/**
 * What the clocks on the wall of a zone show at the start of the interval of a moment: two moments with the same text
 * are in the same interval.
 */
export function wallClock(timeZone: string, interval: UsageInterval): (at: Date) => string {
  // Making a formatter takes longer than thousands of its answers.
  const format = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    timeZoneName: 'shortOffset',
  });
  return (at) => {
    const parts = Object.fromEntries(format.formatToParts(at).map((part) => [part.type, part.value]));
    const day = `${parts.year}-${parts.month}-${parts.day}`;
    if (interval === 'HOUR') return `${day} ${parts.hour} ${parts.timeZoneName}`;
    if (interval === 'DAY') return day;
    if (interval === 'MONTH') return `${parts.year}-${parts.month}`;
    const monday = new Date(`${day}T00:00:00Z`);
    monday.setUTCDate(monday.getUTCDate() - ((monday.getUTCDay() + 6) % 7));
    return monday.toISOString().slice(0, 10);
  };
}
