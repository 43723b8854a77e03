import { setTimeout as sleep } from 'node:timers/promises';
import { Decimal } from '../../../src/lib/decimal';
import type { Admission, HeldOn, NewCall, Settlement } from '../../../src/domain/call';
import { endOf, newCall } from './calls';
import type { Lane } from './lane';
import { Random } from './random';
import type { Failed, ReplicaFault } from './replica';
import { ReplicaDied, type Replica } from './replicas';
import { checkSchedule } from './schedule-check';
import { World } from './world';

export interface Outcome {
  seed: number;
  faults: string[];
  counts: Record<string, number>;
}
/** An admitted call, as whoever ends it knows it. */
interface Live {
  call: NewCall;
  occurredAt: string;
  heldOn: readonly HeldOn[];
}

/** A connection that was cut; a budget that is being made at the moment: asked again, as the product does. */
const mayPass = (error: unknown): boolean =>
  /Connection terminated|terminating connection|57P01|55P03/.test(
    `${(error as Error).message} ${(error as { code?: string }).code}`,
  );
const AGAIN_AFTER_MS = 5;
const MOST_TRIES = 1_000;

/** What happens in one schedule is decided by its seed; how its commands interleave is decided by the machine. */
export async function runSchedule(lane: Lane, seed: number): Promise<Outcome> {
  const schedule = new Schedule(lane, seed);
  // What throws, as an edit that Postgres refuses, is a fault of this schedule: the others go on.
  await schedule.run().catch(async (error: Error) => {
    schedule.faults.push(`${error.stack ?? error.message}`);
    await lane.disarm();
  });
  return { seed, faults: schedule.faults, counts: schedule.counts };
}

class Schedule {
  readonly faults: string[] = [];
  readonly counts: Record<string, number> = {
    calls: 0,
    terminated: 0,
    killed: 0,
    killedInside: 0,
    unanswered: 0,
    recovered: 0,
  };
  private readonly random: Random;
  private readonly world: World;
  private readonly calls = new Map<string, NewCall>();
  private readonly replies = new Map<string, Admission | Failed>();
  private readonly live = new Map<string, Live>();
  /**
   * Ends that were sent to be settled, and those whose settlement was acknowledged: only these can be corrected for
   * sure.
   */
  private readonly settled: Settlement[] = [];
  private readonly acknowledged: Settlement[] = [];
  private readonly keys: { user: string; key: string }[] = [];
  private readonly dead: string[] = [];
  private readonly size: number;
  private mayKill: boolean;

  constructor(
    private readonly lane: Lane,
    seed: number,
  ) {
    this.random = new Random(seed);
    this.size = this.random.int(2, 3);
    this.mayKill = this.random.chance(0.6);
    this.world = new World(lane, this.random, seed);
  }

  async run(): Promise<void> {
    await this.world.make();
    for (let rounds = this.random.int(3, 6); rounds > 0; rounds -= 1) await this.round();
    await Promise.all(this.replicas.map((replica) => replica.finish()));
    await this.recover(true);
    await Promise.all(this.replicas.map((replica) => replica.finish()));
    const { faults, counts } = await checkSchedule(this.lane.db, this.world.organizationId, this.replies);
    this.faults.push(...faults);
    Object.assign(this.counts, counts);
  }

  private get replicas(): Replica[] {
    return this.lane.replicas.slice(0, this.size);
  }

  /**
   * Some commands at once, at most one of their replicas or backends dies, and what is left of its calls is ended by
   * the others, now or later.
   */
  private async round(): Promise<void> {
    const { random, lane } = this;
    const victim = random.pick(this.replicas);
    // A new process costs more than all the rest of a schedule: one of them dies at most.
    const fault = random.pick([
      'NONE',
      'NONE',
      'TERMINATE',
      'TERMINATE',
      'LOST',
      'CUT',
      ...(this.mayKill ? (['BEFORE', 'ANSWERED', 'WAIT', 'WAIT'] as const) : []),
    ] as const);
    const isArmed = fault === 'TERMINATE' || fault === 'WAIT';
    const atReplica = fault === 'NONE' || isArmed ? undefined : fault;
    if (fault === 'WAIT' || fault === 'BEFORE' || fault === 'ANSWERED') this.mayKill = false;
    const steps = Array.from({ length: random.int(2, 5) }, () => this.plan(victim, atReplica));
    if (isArmed) await lane.arm(victim, random.int(1, 16), fault);
    let isDone = false;
    const all = Promise.all(steps.map((step) => step())).finally(() => (isDone = true));
    if (fault === 'WAIT') {
      while (!isDone && !(await lane.isGateReached()));
      if (!isDone) victim.kill();
    }
    await (fault === 'TERMINATE' ? all : null);
    if (isArmed && (await lane.disarm())) this.counts[fault === 'TERMINATE' ? 'terminated' : 'killedInside']! += 1;
    await all;
    if (this.dead.includes(victim.name)) {
      this.counts.killed! += 1;
      await lane.replace(victim);
    }
    if (random.chance(0.5)) await this.recover(false);
  }

  private plan(victim: Replica, fault: ReplicaFault | undefined): () => Promise<void> {
    const { random } = this;
    const replica = random.chance(0.4) ? victim : random.pick(this.replicas);
    const mine = replica === victim ? fault : undefined;
    switch (
      random.pick(['admit', 'admit', 'admit', 'settle', 'settle', 'twice', 'correct', 'edit', 'clock'] as const)
    ) {
      case 'admit':
        return this.planAdmission(replica, mine);
      case 'settle':
        return this.planSettlement([replica], mine);
      case 'twice':
        return this.planSettlement([replica, random.chance(0.4) ? replica : random.pick(this.replicas)], mine);
      case 'correct': {
        const ends = random.some(this.acknowledged, 3).map((end): Settlement => ({
          ...end,
          status: 'COMPLETED',
          cost: {
            ...(end.cost ?? {
              input: '0',
              cacheRead: '0',
              cacheWrite: '0',
              output: '0',
              reasoning: '0',
              request: '0',
            }),
            total: random.amount(3),
          },
        }));
        return ends.length
          ? () => this.ask(replica, (one, fault) => one.correct(ends, 'a later record', fault), mine)
          : async () => {};
      }
      case 'edit':
        return this.world.planEdit();
      case 'clock':
        return this.world.planClock();
    }
  }

  private planAdmission(replica: Replica, fault: ReplicaFault | undefined): () => Promise<void> {
    const { random } = this;
    const calls = Array.from({ length: random.int(1, 6) }, () => this.makeCall(replica));
    // The same key at another replica at the same moment.
    const rival = random.pick(this.replicas);
    const keyed = calls.find((call) => call.idempotency);
    const rivals = keyed && rival !== replica && random.chance(0.5) ? [this.makeCall(rival, keyed)] : [];
    return async () => {
      await Promise.all([this.admit(replica, calls, fault), ...(rivals.length ? [this.admit(rival, rivals)] : [])]);
    };
  }

  private async admit(replica: Replica, calls: NewCall[], fault?: ReplicaFault): Promise<void> {
    await this.ask(
      replica,
      async (one, first) => {
        for (const [i, admission] of (await one.admit(calls, first)).entries()) {
          const call = calls[i]!;
          this.replies.set(call.id, admission);
          if ('failed' in admission) {
            if (!mayPass({ message: admission.failed, code: admission.code }))
              this.faults.push(`admission of ${call.id} failed: ${admission.code} ${admission.failed}`);
          } else if (admission.kind === 'ADMITTED')
            this.live.set(call.id, { call, occurredAt: admission.occurredAt, heldOn: admission.heldOn });
        }
      },
      fault,
    );
  }

  private makeCall(replica: Replica, twin?: NewCall): NewCall {
    const { random, world } = this;
    const user = twin ? world.users.find(({ id }) => id === twin.userId)! : random.pick(world.users);
    const isRepetition = this.keys.length > 0 && random.chance(0.15);
    const { user: keyUser, key } = twin?.idempotency
      ? { user: user.id, key: twin.idempotency.key }
      : isRepetition
        ? random.pick(this.keys)
        : { user: user.id, key: random.chance(0.35) ? world.id('key') : null };
    const asker = world.users.find(({ id }) => id === keyUser)!;
    if (key && !twin && !isRepetition) this.keys.push({ user: keyUser, key });
    const call = newCall({
      id: world.id('call'),
      organizationId: world.organizationId,
      userId: keyUser,
      owner: replica.name,
      key,
      tokenId: random.chance(0.8) ? random.pick(asker.tokens) : null,
      projectId: random.chance(0.7) ? random.pick(world.projects) : null,
      streamed: random.chance(0.5),
      hold: random.chance(0.06) ? null : random.chance(0.05) ? '0' : random.amount(3),
      input: random.chance(0.1) ? 'other input' : undefined,
      question: random.chance(0.3)
        ? { conversationId: asker.conversationId, parentId: asker.head, branchIds: [] }
        : null,
    });
    if (call.question && random.chance(0.7)) asker.head = call.question.messages[0]!.id;
    this.calls.set(call.id, call);
    this.counts.calls! += 1;
    return call;
  }

  private planSettlement(replicas: Replica[], fault: ReplicaFault | undefined): () => Promise<void> {
    const taken = this.random.some([...this.live.values()], 5);
    if (taken.length === 0) return async () => {};
    const ends = taken.map((live) => this.endOf(live));
    for (const { call } of taken) this.live.delete(call.id);
    // Now and then something is said a second time.
    const again = this.random.some(this.settled, this.random.chance(0.2) ? 1 : 0);
    this.settled.push(...ends);
    return async () => {
      await Promise.all(
        replicas.map((replica, i) => this.settle(replica, [...ends, ...again], i === 0 ? fault : undefined)),
      );
    };
  }

  private async settle(replica: Replica, ends: Settlement[], fault?: ReplicaFault): Promise<void> {
    await this.ask(
      replica,
      async (one, first) => {
        await one.settle(ends, first);
        this.acknowledged.push(...ends);
      },
      fault,
    );
  }

  private endOf({ call, occurredAt, heldOn }: Live, status?: Settlement['status']): Settlement {
    const { random } = this;
    const how = status ?? random.pick(['COMPLETED', 'COMPLETED', 'COMPLETED', 'STOPPED', 'FAILED'] as const);
    const hold = call.hold === null ? null : Decimal.parse(call.hold);
    const part = random.pick(['0', '0.37', '0.9', '1', '1', '1.000000001', '1.8']);
    const cost = hold === null ? null : how === 'FAILED' ? '0' : hold.times(Decimal.parse(part)).toString();
    return endOf(call, {
      occurredAt,
      heldOn,
      cost,
      status: how,
      stored: how === 'FAILED' ? undefined : { answer: call.id },
      answer: how !== 'FAILED',
    });
  }

  /**
   * Ends what the dead have left; at the end of a schedule everything, so that the rest is told by what is still in
   * flight.
   */
  private async recover(everything: boolean): Promise<void> {
    const rows = await this.lane.db.query<{ id: string; at: string; budget_ids: string[]; days: string[] }>(
      'SELECT id, occurred_at::text AS at, budget_ids, budget_dates::text[] AS days FROM calls_in_flight WHERE organization_id = $1 AND ($2 OR owner = ANY($3)) ORDER BY id',
      [this.world.organizationId, everything, this.dead],
    );
    const ends = rows.map((row) =>
      this.endOf(
        {
          call: this.calls.get(row.id)!,
          occurredAt: row.at,
          heldOn: row.budget_ids.map((budgetId, i) => ({ budgetId, startsOn: row.days[i]! })),
        },
        'LOST',
      ),
    );
    if (ends.length === 0) return;
    this.counts.recovered! += ends.length;
    for (const { id } of ends) this.live.delete(id);
    this.settled.push(...ends);
    const replicas = this.random.some(this.replicas, this.random.int(1, 2));
    await Promise.all(replicas.map((replica) => this.settle(replica, ends)));
  }

  /**
   * Asked of the one, and where only its connection dies, again, and of anybody, as a journal does. A replica that dies
   * is noted.
   */
  private async ask(
    replica: Replica,
    question: (replica: Replica, fault?: ReplicaFault) => Promise<unknown>,
    fault?: ReplicaFault,
  ): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      try {
        await question(replica, tries === 0 ? fault : undefined);
        return;
      } catch (error) {
        if (error instanceof ReplicaDied) {
          if (!this.dead.includes(replica.name)) this.dead.push(replica.name);
          this.counts.unanswered! += 1;
          return;
        }
        if (tries < MOST_TRIES && mayPass(error)) {
          await sleep(AGAIN_AFTER_MS);
          continue;
        }
        this.faults.push((error as Error).message);
        return;
      }
    }
  }
}
