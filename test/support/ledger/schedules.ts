import { Lane } from './lane';
import { runSchedule, type Outcome } from './schedule';

export interface Schedules {
  counts: Record<string, number>;
  /** Those in which something was wrong; each can be run alone by its seed. */ failed: Outcome[];
}

/** Schedules of consecutive seeds, on two lanes side by side. */
export async function runSchedules(
  count: number,
  seed: number,
  onProgress: (done: number) => void = () => {},
): Promise<Schedules> {
  const lanes = await Promise.all([Lane.open(3), Lane.open(3)]);
  const counts: Record<string, number> = { schedules: 0 };
  const failed: Outcome[] = [];
  let next = 0;
  try {
    await Promise.all(
      lanes.map(async (lane) => {
        while (next < count) {
          next += 1;
          const outcome = await runSchedule(lane, seed + next - 1);
          counts.schedules! += 1;
          for (const [name, value] of Object.entries(outcome.counts)) counts[name] = (counts[name] ?? 0) + value;
          if (outcome.faults.length > 0) failed.push(outcome);
          onProgress(counts.schedules!);
        }
      }),
    );
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  return { counts, failed };
}
