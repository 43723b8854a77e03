import type { Piece } from '../provider-script';
import { isTerminal, type StreamEvent } from '../ws-client';
import type { StreamPlan } from './stream-plan';

type Kind = 'TextDelta' | 'ReasoningDelta' | 'ToolCallDelta';
const kindOf = (piece: Piece): Kind =>
  typeof piece === 'string' ? 'TextDelta' : 'reasoning' in piece ? 'ReasoningDelta' : 'ToolCallDelta';
const contentOf = (piece: Piece): string => {
  if (typeof piece === 'string') return piece;
  return 'reasoning' in piece ? piece.reasoning : 'toolCall' in piece ? (piece.toolCall.arguments ?? '') : '';
};
const textOfEvent = (event: StreamEvent): string => event.text ?? event.reasoning ?? event.arguments;
const quoted = (text: string): string =>
  JSON.stringify(text.length > 120 ? `${text.slice(0, 60)} … ${text.slice(-60)}` : text);

/** What all viewers of one stream have seen of it, held against what the upstream was told to say. */
export class StreamRecord {
  streamId: string | null = null;
  readonly callIds = new Set<string>();
  /** One for each viewer that saw the end, and for each time that one read it again. */
  readonly ends: {
    event: StreamEvent;
    /** Characters of the answer that this viewer had got. */ characters: number;
  }[] = [];
  readonly faults: string[] = [];
  /** The highest number of a piece that any viewer has seen. */
  lastSeq = 0;
  readonly progressSeqs = new Set<number>();

  constructor(readonly plan: StreamPlan) {}

  fault(text: string): void {
    if (this.faults.length < 5) this.faults.push(`${this.plan.label}: ${text}`);
  }

  /** All that the upstream says of one kind, joined. */
  said(kind: Kind): string {
    return this.pieces(0, Infinity, kind);
  }

  /** Of the pieces with these numbers. */
  pieces(fromSeq: number, seq: number, kind: Kind | null): string {
    return this.plan.answer.pieces
      .slice(Math.max(0, this.indexOf(fromSeq)), Math.max(0, this.indexOf(seq) + 1))
      .filter((piece) => kind === null || kindOf(piece) === kind)
      .map(contentOf)
      .join('');
  }

  /** Number 1 is StreamStarted; StreamProgress has numbers between those of the pieces. */
  indexOf(seq: number): number {
    let progress = 0;
    for (const at of this.progressSeqs) if (at < seq) progress += 1;
    return seq - 2 - progress;
  }
}

/** What one viewer has, over all its connections. */
export class ViewerChain {
  private readonly characters: Record<Kind, number>;

  constructor(
    private readonly record: StreamRecord,
    /** It has everything up to here. */
    public seq: number,
  ) {
    const length = (kind: Kind): number => record.pieces(0, seq, kind).length;
    this.characters = {
      TextDelta: length('TextDelta'),
      ReasoningDelta: length('ReasoningDelta'),
      ToolCallDelta: length('ToolCallDelta'),
    };
  }

  add(event: StreamEvent): void {
    const { record } = this;
    const { fromSeq, seq, __typename: kind } = event;
    if (fromSeq !== this.seq + 1 || seq < fromSeq) record.fault(`${kind} ${fromSeq}-${seq} behind ${this.seq}`);
    this.seq = seq;
    if (kind === 'StreamProgress') record.progressSeqs.add(seq);
    else if (kind === 'StreamStarted') this.started(event);
    else if (isTerminal(event)) record.ends.push({ event, characters: this.characters.TextDelta });
    else this.checkText(event, kind as Kind);
    // Of what died with its process the end has a number far behind.
    if (record.indexOf(seq) <= record.plan.answer.pieces.length) record.lastSeq = Math.max(record.lastSeq, seq);
  }

  private started({ seq, streamId, callId, model }: StreamEvent): void {
    const { record } = this;
    if (seq !== 1) record.fault(`StreamStarted has number ${seq}`);
    if (record.streamId !== null && record.streamId !== streamId)
      record.fault(`two streams: ${record.streamId} and ${streamId}`);
    if (model !== record.plan.label) record.fault(`of the model ${model}`);
    record.streamId = streamId;
    record.callIds.add(callId);
  }

  /** The text goes on where it was, and joined pieces are those of the upstream, number for number. */
  private checkText(event: StreamEvent, kind: Kind): void {
    const { record } = this;
    const { fromSeq, seq } = event;
    const text = textOfEvent(event);
    const isPiece = record.indexOf(seq) < record.plan.answer.pieces.length;
    const expected = isPiece
      ? record.pieces(fromSeq, seq, null)
      : record.said(kind).slice(this.characters[kind], this.characters[kind] + text.length);
    if (text !== expected)
      record.fault(`${kind} ${fromSeq}-${seq} is ${quoted(text)}, the upstream said ${quoted(expected)}`);
    this.characters[kind] += text.length;
  }
}
