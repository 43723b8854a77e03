/** The value below which `share` (0 to 1) of the samples lie. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

export const milliseconds = (value: number): string => `${value.toFixed(2)} ms`;
export const micros = (value: number): string => `${value.toFixed(1)} µs`;

/** A table for people; columns as wide as their widest cell. */
export function printTable(title: string, rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  console.log(`\n${title}`);
  rows.forEach((row, index) => {
    console.log(
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('   ')}`,
    );
    if (index === 0) console.log(`  ${widths.map((width) => '-'.repeat(width)).join('   ')}`);
  });
}

export interface Goal {
  what: string;
  value: number;
  limit: number;
  unit: string;
  atLeast?: boolean;
}

/** Says how each figure stands to its goal. A missed goal is a finding, not a failure of the program. */
export function printGoals(goals: readonly Goal[]): void {
  for (const { what, value, limit, unit, atLeast } of goals) {
    const met = atLeast ? value >= limit : value <= limit;
    console.log(
      `  ${met ? 'met   ' : 'MISSED'}  ${what}: ${value.toFixed(2)} ${unit} (goal ${atLeast ? '≥' : '≤'} ${limit} ${unit})`,
    );
  }
}
