import { setTimeout as sleep } from 'node:timers/promises';
import { graphql } from '../graphql-client';
import { Random } from '../ledger/random';
import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import type { StreamEvent } from '../ws-client';
import type { StreamLane } from './stream-lane';
import {
  NETWORKS,
  planSchedule,
  STREAMS_PER_SCHEDULE,
  type SchedulePlan,
  type StreamPlan,
  type ViewerPlan,
} from './stream-plan';
import { checkBooks, checkEnds } from './stream-check';
import { StreamRecord } from './stream-record';
import { Watcher } from './stream-watcher';

export interface Outcome {
  seed: number;
  counts: Record<string, number>;
  faults: string[];
}

const STOP = 'mutation ($streamId: ID!) { stopStream(streamId: $streamId) { stopped } }';

/**
 * One schedule on a lane: what it says happens when viewers have seen so much, in whatever order the machine brings it
 * about.
 */
export async function runSchedule(
  lane: StreamLane,
  seed: number,
  ordinal: number,
  { mayKill = true } = {},
): Promise<Outcome> {
  const plan = planSchedule(seed, ordinal * STREAMS_PER_SCHEDULE, lane.slots.length);
  if (!mayKill) plan.kill = null;
  const run = new Run(lane, plan);
  const faults = await run.toEnd();
  return { seed, counts: run.counts, faults };
}

/** Calls back once, when a number is reached. */
type Threshold = { at: number; act: () => void };

class Run {
  readonly counts: Record<string, number> = { streams: 0, events: 0, kills: 0, outages: 0, stops: 0 };
  private readonly random: Random;
  private readonly background: Promise<void>[] = [];
  private readonly thresholds: Threshold[] = [];
  private readonly records: StreamRecord[] = [];

  constructor(
    private readonly lane: StreamLane,
    private readonly plan: SchedulePlan,
  ) {
    this.random = new Random(plan.seed ^ 0x5eed);
    const { kill, outage } = plan;
    if (kill)
      this.thresholds.push({
        at: kill.atPieces,
        act: () => (this.count('kills'), this.background.push(lane.kill(kill.replica))),
      });
    if (outage)
      this.thresholds.push({
        at: outage.atPieces,
        act: () => (this.count('outages'), this.background.push(lane.outage(outage.network, outage.awayMs))),
      });
  }

  /** What was wrong. */
  async toEnd(): Promise<string[]> {
    const { lane, plan } = this;
    for (const { label, answer } of plan.streams) lane.provider.always(label, answer);
    const records = await Promise.all(plan.streams.map((stream) => this.stream(stream)));
    await Promise.all(this.background);
    await lane.settled();
    return [
      ...records.flatMap((record) => [...record.faults, ...checkEnds(record, this.counts.kills! > 0)]),
      ...(await checkBooks(lane, records, this.counts)),
    ];
  }

  private async stream(plan: StreamPlan): Promise<StreamRecord> {
    const record = new StreamRecord(plan);
    this.records.push(record);
    const user = this.random.pick(this.lane.users);
    const network = this.random.int(0, NETWORKS - 1);
    const waiting: Threshold[] = [];
    const viewers: Promise<void>[] = [];
    const door = (): ReturnType<StreamLane['door']> =>
      this.lane.door(network, this.random.int(0, this.lane.slots.length - 1));
    const onEvent = ({ __typename: kind }: StreamEvent): void => {
      this.count('events');
      this.count(kind);
      const seen = this.records.reduce((sum, { lastSeq }) => sum + lastSeq, 0);
      for (const [thresholds, reached] of [
        [waiting, record.lastSeq],
        [this.thresholds, seen],
      ] as const) {
        for (let at = thresholds.length - 1; at >= 0; at -= 1)
          if (thresholds[at]!.at <= reached) thresholds.splice(at, 1)[0]!.act();
      }
    };
    const watcher = (viewer: ViewerPlan, after = 0): Watcher =>
      new Watcher(
        { record, plan: viewer, token: user.token, door, onEvent, mayForget: () => this.counts.kills! > 0 },
        after,
      );
    const watch = (viewer: ViewerPlan): Promise<void> => watcher(viewer).watch();
    for (const viewer of plan.viewers.slice(1))
      waiting.push({ at: viewer.comesAtSeq, act: () => viewers.push(watch(viewer)) });
    if (plan.stopAtSeq !== null)
      waiting.push({ at: plan.stopAtSeq, act: () => viewers.push(this.stop(record, user.token)) });
    viewers.push(watch(plan.viewers[0]!));
    for (let ended = 0; ended < viewers.length; ended += 1) await viewers[ended];
    this.count('streams');
    for (const viewer of plan.viewers) {
      if (record.ends.length === 0 || !viewer.readsAgain || record.faults.length > 0) continue;
      const reader = { ...viewer, moves: [], goesAtSeq: null };
      await watcher(reader, this.random.int(0, record.lastSeq - 1)).watch();
      await watcher(reader, record.ends.at(-1)!.event.seq).readNothing();
    }
    return record;
  }

  /** From any replica, until one has heard it. */
  private async stop(record: StreamRecord, token: string): Promise<void> {
    this.count('stops');
    await waitFor(
      async () => {
        const url = await this.lane.address(this.random.int(0, this.lane.slots.length - 1));
        const { data, errors } = await graphql(url, token, STOP, { streamId: record.streamId }).catch(() => ({
          data: null,
          errors: null,
        }));
        if (errors && errors[0]!.extensions.code !== 'SERVICE_UNAVAILABLE')
          record.fault(`stopStream: ${errors[0]!.extensions.code} ${errors[0]!.message}`);
        if (!data && !errors) await sleep(40);
        return (
          data || (errors?.[0]!.extensions.code !== undefined && errors[0]!.extensions.code !== 'SERVICE_UNAVAILABLE')
        );
      },
      { deadlineMs: SLOW_DEADLINE_MS, what: 'the stop to be heard' },
    ).catch((error: Error) => record.fault(error.message));
  }

  private count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }
}
