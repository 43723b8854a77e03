import { StreamLane, type Mistake } from './stream-lane';
import { STREAMS_PER_SCHEDULE } from './stream-plan';
import { runSchedule, type Outcome } from './stream-schedule';

export interface SchedulesOptions {
  schedules: number;
  seed: number;
  replicas: number;
  env?: Record<string, string>;
  /** Nobody dies then, and it ends with the first schedule that finds it. */ mistake?: Mistake;
}

/** Schedules of consecutive seeds, one after another, on the same processes. */
export async function runSchedules({
  schedules,
  seed,
  replicas,
  env,
  mistake,
}: SchedulesOptions): Promise<{ counts: Record<string, number>; failed: Pick<Outcome, 'seed' | 'faults'>[] }> {
  const lane = await StreamLane.open({ replicas, streams: schedules * STREAMS_PER_SCHEDULE, env, mistake });
  const counts: Record<string, number> = {};
  const failed: Pick<Outcome, 'seed' | 'faults'>[] = [];
  try {
    for (let ordinal = 0; ordinal < schedules && !(mistake && failed.length > 0); ordinal += 1) {
      const outcome = await runSchedule(lane, seed + ordinal, ordinal, { mayKill: !mistake });
      for (const [name, value] of Object.entries(outcome.counts)) counts[name] = (counts[name] ?? 0) + value;
      if (outcome.faults.length > 0) failed.push({ seed: outcome.seed, faults: outcome.faults.slice(0, 8) });
    }
  } finally {
    await lane.close();
  }
  return { counts, failed };
}
