import { Decimal } from '../../../src/lib/decimal';
import { ModelBudgets, rowKey, type Budget, type Period } from './model-budgets';

/** An entry of the log of proof-schema.ts: what one transaction was asked and answered. */
export interface LogEntry {
  seq: string;
  kind: 'admit' | 'settle' | 'correct' | 'edit';
  /** When its transaction began, and when it ended. */ at: string;
  until: string;
  input: any;
  output: any;
}

/** A call as the model has it. */
export interface ModelCall {
  id: string;
  organization: string;
  project: string | null;
  user: string;
  token: string | null;
  at: string;
  key: string | null;
  hold: Decimal | null;
  on: Set<string>;
}
interface Settled extends ModelCall {
  status: string;
  cost: Decimal;
  corrections: number;
}
interface Key {
  callId: string;
  hash: string;
  ended: boolean;
  expiresAt: number;
}

const DAY_MS = 86_400_000;
const add = (to: Map<Period, Decimal>, period: Period, by: Decimal): unknown =>
  to.set(period, (to.get(period) ?? Decimal.ZERO).plus(by));
const keyName = (user: string, key: string): string => `${user} ${key}`;
const amount = (text: string | null | undefined): Decimal => (text ? Decimal.parse(text) : Decimal.ZERO);

/**
 * What the ledger has to do, said a second time and simply: one transaction after the other, one call after the other,
 * in decimals. Replays a log and notes every answer that it would not have given.
 */
export class Model {
  readonly budgets = new ModelBudgets();
  readonly running = new Map<string, ModelCall>();
  readonly settled = new Map<string, Settled>();
  readonly keys = new Map<string, Key>();
  /** Heads of conversations; a conversation that is not here has none. */
  readonly heads = new Map<string, string>();
  readonly messages = new Set<string>();
  readonly faults: string[] = [];
  readonly counts = { admitted: 0, refused: 0, other: 0, settled: 0, settledAgain: 0, corrected: 0, edits: 0 };

  replay(entries: readonly LogEntry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'admit') this.admit(entry);
      else if (entry.kind === 'settle') this.settle(entry);
      else if (entry.kind === 'correct') this.correct(entry);
      else this.edit(entry);
    }
  }

  private fault(entry: LogEntry, what: string): void {
    this.faults.push(`entry ${entry.seq} (${entry.kind}): ${what}`);
  }

  private admit(entry: LogEntry): void {
    const { at } = entry;
    const refused: string[] = [];
    const inGroup = new Map<string, string>();
    const asked = new Set<string>();
    const ids = new Set((entry.input as any[]).map(({ id }) => id as string));
    for (const [i, row] of (entry.input as any[]).entries()) {
      const { fates, places, details, budgets, dates } = entry.output;
      const on: string[] = places[i]
        ? places[i]
            .slice(1, -1)
            .split(',')
            .map((place: string) => rowKey(budgets[Number(place) - 1], dates[Number(place) - 1]))
        : [];
      const answer = { fate: fates[i], detail: details[i], on };
      const call: ModelCall = {
        id: row.id,
        organization: row.organization_id,
        project: row.project_id,
        user: row.user_id,
        token: row.token_id,
        at,
        key: row.key ? keyName(row.user_id, row.key) : null,
        hold: row.hold === null || row.hold === undefined ? null : Decimal.parse(row.hold),
        on: new Set(),
      };
      // A call that is asked again may be committed by its first try, or end, between two statements of the function.
      // Whoever came with its key or its conversation is then told to ask once more, which is never wrong.
      const sharesKey = (other: any): boolean =>
        call.key !== null && other.key && keyName(other.user_id, other.key) === call.key;
      const mayAskAgain =
        answer.fate === 'AGAIN' &&
        (entry.input as any[]).some(
          (other) =>
            other.again && (sharesKey(other) || (row.messages && other.conversation_id === row.conversation_id)),
        );
      const [fate, why] = mayAskAgain ? ['AGAIN', 'key'] : this.fateOf(call, row, { ids, asked, inGroup });
      if (answer.fate !== fate)
        this.fault(
          entry,
          `call ${call.id}: ${answer.fate} ${JSON.stringify(answer.detail)}, and the model says ${fate} ${why}`,
        );
      if (fate === 'ADMITTED' && why !== 'again') this.admitted(entry, call, row, answer);
      if (fate === 'BUDGET_EXCEEDED') this.compareRefusal(entry, call, answer.detail);
      if (call.key && ['BUDGET_EXCEEDED', 'UNPRICED'].includes(fate) && inGroup.get(call.key) === call.id)
        refused.push(call.key);
      if (fate === 'ADMITTED') this.counts.admitted += why === 'again' ? 0 : 1;
      else if (fate === 'BUDGET_EXCEEDED') this.counts.refused += 1;
      else this.counts.other += 1;
    }
    // A key that a refused call claimed is free with the end of the group, not before: who came with it in the same
    // group asks once more.
    for (const key of refused) this.keys.delete(key);
  }

  /** Keys and conversations go before budgets, in the order of the calls. */
  private fateOf(
    call: ModelCall,
    row: any,
    group: { ids: ReadonlySet<string>; asked: Set<string>; inGroup: Map<string, string> },
  ): [string, string] {
    if (row.again && this.settled.has(call.id)) return ['ENDED', ''];
    if (row.again && this.running.has(call.id)) return ['ADMITTED', 'again'];
    if (row.messages) {
      if (group.asked.has(row.conversation_id)) return ['AGAIN', 'conversation'];
      group.asked.add(row.conversation_id);
    }
    if (call.key) {
      const first = group.inGroup.get(call.key);
      if (first) return ['AGAIN', 'key'];
      const key = this.keys.get(call.key);
      if (key && !(key.ended && key.expiresAt <= Date.parse(call.at))) {
        // Its call is in the same group: it was asked for again.
        if (key.callId !== call.id && group.ids.has(key.callId)) return ['AGAIN', 'key of the group'];
        if (key.callId !== call.id)
          return key.hash !== row.input_hash ? ['CONFLICT', ''] : key.ended ? ['REPLAY', ''] : ['RUNNING', ''];
      }
      group.inGroup.set(call.key, call.id);
      this.keys.set(call.key, { callId: call.id, hash: row.input_hash, ended: false, expiresAt: 0 });
    }
    const applicable = this.budgets.of(call);
    if (applicable.length === 0) return ['ADMITTED', ''];
    if (!call.hold) return ['UNPRICED', ''];
    const full = applicable.find((budget) => this.budgets.room(budget, call.at).compare(call.hold!) < 0);
    return full ? ['BUDGET_EXCEEDED', `by ${full.id}`] : ['ADMITTED', ''];
  }

  private admitted(entry: LogEntry, call: ModelCall, row: any, answer: any): void {
    for (const budget of this.budgets.of(call)) {
      const period = this.budgets.period(budget, call.at);
      period.held = period.held.plus(call.hold!);
      call.on.add(period.key);
    }
    const said = [...(answer.on as string[])].sort();
    if (answer.fate === 'ADMITTED' && said.join() !== [...call.on].sort().join())
      this.fault(entry, `call ${call.id} holds on ${said.join()}, and the model says ${[...call.on].sort().join()}`);
    this.running.set(call.id, call);
    if (row.messages) {
      this.messages.add(row.question_id);
      this.heads.set(row.conversation_id, row.question_id);
    }
  }

  private compareRefusal(entry: LogEntry, call: ModelCall, detail: any): void {
    if (!detail?.budget) return;
    const applicable = this.budgets.of(call);
    const full = applicable.find((budget) => this.budgets.room(budget, call.at).compare(call.hold!) < 0)!;
    const rooms = applicable.map((budget) => this.budgets.room(budget, call.at));
    const least = rooms.reduce((a, b) => (b.compare(a) < 0 ? b : a));
    const period = this.budgets.period(full, call.at);
    const expected = {
      id: full.id,
      room: least.isNegative ? '0' : least.toString(),
      spent: period.spent.toString(),
      held: period.held.toString(),
      limit: full.limit.toString(),
    };
    const said = {
      id: detail.budget.id,
      ...Object.fromEntries(['spent', 'held', 'limit'].map((name) => [name, amount(detail.budget[name]).toString()])),
      room: amount(detail.room).toString(),
    };
    for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
      if ((said as any)[name] !== expected[name])
        this.fault(
          entry,
          `call ${call.id} is refused with ${name} ${(said as any)[name]}, and the model says ${expected[name]}`,
        );
    }
  }

  private settle(entry: LogEntry): void {
    const isNew: string[] = [];
    const excess = new Map<Period, Decimal>();
    const booked = new Map<Period, Decimal>();
    for (const end of entry.input as any[]) {
      const call = this.running.get(end.id);
      const first = !this.settled.has(end.id);
      if (!call && first) this.fault(entry, `call ${end.id} is settled and was never admitted`);
      if (call) this.running.delete(end.id);
      if (!first) this.counts.settledAgain += 1;
      if (!call) continue;
      // A call that was settled and then admitted by a first try that came late: its hold is released, and nothing
      // more.
      const cost = first ? amount(end.cost) : Decimal.ZERO;
      const hold = call.hold ?? Decimal.ZERO;
      for (const period of this.budgets.rowsOf(call.on)) {
        add(booked, period, cost);
        period.spent = period.spent.plus(cost);
        period.held = period.held.minus(hold);
        if (cost.compare(hold) > 0) add(excess, period, cost.minus(hold));
      }
      if (!first) continue;
      this.settled.set(call.id, { ...call, status: end.status, cost, corrections: 0 });
      isNew.push(call.id);
      this.endKey(entry, call, end.stored);
      if (end.answer_id) {
        this.messages.add(end.answer_id);
        if (this.heads.get(end.conversation_id) === end.question_id) this.heads.set(end.conversation_id, end.answer_id);
      }
      this.counts.settled += 1;
    }
    this.budgets.book(booked, excess);
    const said = [...(entry.output as string[])].sort().join();
    if (said !== isNew.sort().join())
      this.fault(entry, `newly settled are ${said}, and the model says ${isNew.join()}`);
  }

  private endKey(entry: LogEntry, call: ModelCall, stored: unknown): void {
    if (!call.key || this.keys.get(call.key)?.callId !== call.id) return;
    if (stored === null || stored === undefined) this.keys.delete(call.key);
    else Object.assign(this.keys.get(call.key)!, { ended: true, expiresAt: Date.parse(entry.at) + DAY_MS });
  }

  private correct(entry: LogEntry): void {
    const changed: string[] = [];
    const booked = new Map<Period, Decimal>();
    for (const end of entry.input as any[]) {
      const call = this.settled.get(end.id);
      const cost = amount(end.cost);
      if (!call || (call.cost.compare(cost) === 0 && call.status === end.status)) continue;
      const difference = cost.minus(call.cost);
      for (const period of this.budgets.rowsOf(call.on)) {
        period.spent = period.spent.plus(difference);
        add(booked, period, difference);
      }
      Object.assign(call, { cost, status: end.status, corrections: call.corrections + 1 });
      changed.push(call.id);
      this.counts.corrected += 1;
    }
    this.budgets.book(booked, booked);
    const said = [...(entry.output as string[])].sort().join();
    if (said !== changed.sort().join())
      this.fault(entry, `corrected are ${said}, and the model says ${changed.join()}`);
  }

  private edit(entry: LogEntry): void {
    this.counts.edits += 1;
    const calls = [...this.running.values(), ...this.settled.values()];
    const budgets = (entry.input as any[]).map((row): Budget => ({
      id: row.id,
      scope: row.scope,
      subject: row.subject_id,
      period: row.period,
      limit: Decimal.parse(row.limit_amount),
      zone: row.time_zone,
      percents: row.alert_at_percent,
    }));
    this.budgets.replace(budgets, calls);
    for (const { id, days } of (entry.output as { id: string; days: string[] }[] | null) ?? []) {
      const [day, ...more] = days;
      if (!day || more.length > 0) this.fault(entry, `budget ${id} was filled with ${days.length} periods`);
      else if (
        !this.budgets.fill(id, day, [entry.at, entry.until], [...this.running.values()], [...this.settled.values()])
      )
        this.fault(entry, `budget ${id} was filled with the period of ${day}, which was not the current one`);
    }
    this.budgets.alert(entry.at);
  }
}
