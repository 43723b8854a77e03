import type { StreamEvent, DeltaEvent, NewEvent } from '../../domain/stream-events';

/**
 * Pieces of one kind that follow each other are kept as one text with their ends: an object for every token would cost
 * ten times its text.
 */
const SEAL_AT = 64;
/** Characters of one event, unless a single piece has more. What a slow viewer gets at once is bounded by it. */
export const MAX_JOINED = 64 * 1024;

export type Header =
  | { kind: 'TextDelta' }
  | { kind: 'ReasoningDelta' }
  | { kind: 'ToolCallDelta'; index: number; toolCallId: string | null; name: string | null };

/** Pieces that follow each other: `header` is of the first one, `lengths` are of each in `text`. */
export interface PieceGroup {
  header: Header;
  text: string;
  lengths: number[];
}

/** Neighbouring pieces of one kind. `ends` are where they end in the text. */
class Run {
  private texts: string[] | null = [];
  private text = '';
  private length = 0;
  private ends: number[] | Uint32Array = [];

  constructor(
    readonly fromSeq: number,
    readonly header: Header,
  ) {}

  get seq(): number {
    return this.fromSeq + this.ends.length - 1;
  }
  get isFull(): boolean {
    return this.texts === null;
  }

  add(text: string): void {
    this.texts!.push(text);
    this.length += text.length;
    (this.ends as number[]).push(this.length);
    if (this.ends.length >= SEAL_AT) this.seal();
  }

  /** Nothing is added any more. */
  seal(): void {
    if (!this.texts) return;
    this.text = this.texts.join('');
    this.texts = null;
    this.ends = Uint32Array.from(this.ends);
  }

  /** Pieces from number `from` on: up to `until`, and not more than `maxCharacters` after the first one. */
  slice(from: number, until: number, maxCharacters: number): { text: string; seq: number } {
    const first = from - this.fromSeq;
    const start = first === 0 ? 0 : this.ends[first - 1]!;
    let last = Math.min(until, this.seq) - this.fromSeq;
    while (last > first && this.ends[last]! - start > maxCharacters) last -= 1;
    const text = this.texts
      ? first === last
        ? this.texts[first]!
        : this.texts.slice(first, last + 1).join('')
      : this.text.slice(start, this.ends[last]!);
    return { text, seq: this.fromSeq + last };
  }

  /** As `slice`, with the length of each piece. */
  measured(from: number, until: number): PieceGroup {
    const first = from - this.fromSeq;
    const { text, seq } = this.slice(from, until, Infinity);
    const lengths: number[] = [];
    for (let i = first; i <= seq - this.fromSeq; i += 1)
      lengths.push(this.ends[i]! - (i === 0 ? 0 : this.ends[i - 1]!));
    const { header } = this;
    return {
      header: first > 0 && header.kind === 'ToolCallDelta' ? { ...header, toolCallId: null, name: null } : header,
      text,
      lengths,
    };
  }
}

type Entry = Run | StreamEvent;
const isRun = (entry: Entry): entry is Run => entry instanceof Run;

/**
 * The numbered events of one stream, from 1 on, in little memory. What is read between two numbers is the same whatever
 * was read before, and neighbouring pieces come joined.
 */
export class PieceLog {
  private readonly entries: Entry[] = [];
  private count = 0;
  private characters = 0;

  get lastSeq(): number {
    return this.count;
  }
  /** Of all texts so far. */
  get textLength(): number {
    return this.characters;
  }

  /** About how much memory it takes. */
  get bytes(): number {
    return 400 + this.entries.length * 120 + this.count * 4 + this.characters * 2;
  }

  /** Gives the event its number. */
  append(event: NewEvent): number {
    const seq = this.count + 1;
    this.count = seq;
    switch (event.kind) {
      case 'TextDelta':
      case 'ReasoningDelta':
        this.add(seq, { kind: event.kind }, event.text);
        break;
      case 'ToolCallDelta':
        this.add(
          seq,
          { kind: event.kind, index: event.index, toolCallId: event.toolCallId, name: event.name },
          event.arguments,
        );
        break;
      default:
        this.entries.push({ ...event, fromSeq: seq, seq } as StreamEvent);
        // A terminal event has the whole answer in it.
        this.characters += charactersOf(event);
    }
    return seq;
  }

  /**
   * The next event behind number `after`, not beyond `until`; pieces joined to at most `maxCharacters`, or one piece.
   * null: none.
   */
  read(after: number, until: number = this.count, maxCharacters: number = MAX_JOINED): StreamEvent | null {
    if (after >= until) return null;
    let at = this.find(after + 1);
    const entry = this.entries[at]!;
    if (!isRun(entry)) return entry;
    const begins = entry.fromSeq === after + 1;
    let { text, seq } = entry.slice(after + 1, until, maxCharacters);
    for (let run = entry; seq === run.seq && seq < until && text.length < maxCharacters;) {
      const next = this.entries[(at += 1)];
      if (!next || !isRun(next) || !continues(run.header, next.header)) break;
      const more = next.slice(next.fromSeq, until, maxCharacters - text.length);
      if (text.length + more.text.length > maxCharacters) break;
      text += more.text;
      seq = more.seq;
      run = next;
    }
    return toEvent(entry.header, begins, after + 1, seq, text);
  }

  /** Each piece by itself, for those who count or copy them. */
  *pieces(after: number, until: number = this.count): Generator<StreamEvent> {
    for (let seq = after; seq < until; seq += 1) yield this.read(seq, seq + 1)!;
  }

  /**
   * What is behind number `after`, without an object for each piece: for those who write it down. Other events come as
   * they are.
   */
  *groups(after: number, until: number = this.count): Generator<PieceGroup | StreamEvent> {
    if (after >= until) return;
    for (let at = this.find(after + 1), seq = after; seq < until; at += 1) {
      const entry = this.entries[at]!;
      yield isRun(entry) ? entry.measured(seq + 1, until) : entry;
      seq = entry.seq;
    }
  }

  /** Nothing is appended for a long time: gives memory back. */
  compact(): void {
    const last = this.entries.at(-1);
    for (const entry of last ? this.entries.slice(-2) : []) if (isRun(entry)) entry.seal();
  }

  private add(seq: number, header: Header, text: string): void {
    this.characters += text.length;
    const last = this.entries.at(-1);
    if (last && isRun(last) && continues(last.header, header)) {
      if (!last.isFull) return last.add(text);
    } else if (last && isRun(last)) last.seal();
    const run = new Run(seq, header);
    run.add(text);
    this.entries.push(run);
  }

  /** Index of the entry that has this number. Nearly always the last one. */
  private find(seq: number): number {
    let high = this.entries.length - 1;
    if (this.entries[high]!.fromSeq <= seq) return high;
    let low = 0;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.entries[middle]!.fromSeq <= seq) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Whether a piece with this header belongs to the text before it. */
function continues(before: Header, next: Header): boolean {
  if (before.kind !== next.kind) return false;
  return (
    next.kind !== 'ToolCallDelta' ||
    (before.kind === 'ToolCallDelta' && before.index === next.index && next.toolCallId === null && next.name === null)
  );
}

function toEvent(header: Header, begins: boolean, fromSeq: number, seq: number, text: string): DeltaEvent {
  if (header.kind !== 'ToolCallDelta') return { kind: header.kind, fromSeq, seq, text };
  const { index, toolCallId, name } = header;
  return {
    kind: 'ToolCallDelta',
    fromSeq,
    seq,
    index,
    toolCallId: begins ? toolCallId : null,
    name: begins ? name : null,
    arguments: text,
  };
}

/** Of the answer that a terminal event has in it. */
function charactersOf(event: NewEvent): number {
  const answer = 'reply' in event ? event.reply.answer : 'partial' in event ? event.partial?.answer : null;
  if (!answer) return 0;
  return (
    (answer.content?.length ?? 0) +
    (answer.reasoning?.length ?? 0) +
    answer.toolCalls.reduce((sum, call) => sum + call.name.length + call.arguments.length, 0)
  );
}
