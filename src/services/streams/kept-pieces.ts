import type { PieceGroup, PieceLog } from './piece-log';
import type { StreamEvent } from '../../domain/stream-events';

/**
 * One numbered piece as it is written beside the text of its stream. Its length is in UTF-16 units of its channel's
 * text: what Postgres does not keep (NUL, half a surrogate pair) is replaced one for one, so that lengths stay true. A
 * number alone is a TextDelta, of which there are most.
 */
export type KeptPiece =
  | number
  | ['R', length: number]
  | ['T', length: number, index: number, toolCallId: string | null, name: string | null]
  | ['P', completionTokens: number, estimatedCost: string | null];

/**
 * What a row of call_checkpoints says of the numbers. A piece is described in the row in which its text is complete.
 */
export interface KeptRow {
  content: string;
  reasoning: string;
  tools: string;
  /** null: of a version that kept no numbers. */
  firstSeq: number | null;
  pieces: KeptPiece[] | null;
}

export type ChannelName = 'content' | 'reasoning' | 'tools';
export const channelOf = (piece: KeptPiece): ChannelName | null =>
  typeof piece === 'number' ? 'content' : piece[0] === 'R' ? 'reasoning' : piece[0] === 'T' ? 'tools' : null;
/** Of its channel's text: the name of a tool call stands before its arguments. */
export const lengthOf = (piece: KeptPiece): number =>
  typeof piece === 'number'
    ? piece
    : piece[0] === 'R'
      ? piece[1]
      : piece[0] === 'T'
        ? piece[1] + (piece[4]?.length ?? 0)
        : 0;

/** The pieces of a part of a log, and their text. */
export function describe(group: PieceGroup | StreamEvent): { pieces: KeptPiece[]; text: string } {
  if ('header' in group) {
    const { header, lengths, text } = group;
    if (header.kind === 'TextDelta') return { pieces: lengths, text };
    if (header.kind === 'ReasoningDelta') return { pieces: lengths.map((length) => ['R', length]), text };
    const { index, toolCallId, name } = header;
    return {
      pieces: lengths.map((length, i) => ['T', length, index, i === 0 ? toolCallId : null, i === 0 ? name : null]),
      text: (name ?? '') + text,
    };
  }
  // Others stand at the beginning or the end of a stream, which are told from the call itself.
  if (group.kind !== 'StreamProgress') throw new Error(`${group.kind} is not a piece`);
  return { pieces: [['P', group.completionTokens, group.estimatedCost]], text: '' };
}

/** A text of which the beginning has been taken. */
class Unread {
  private text = '';
  private from = 0;

  add(text: string): void {
    if (text === '') return;
    this.text = this.text.slice(this.from) + text;
    this.from = 0;
  }
  has(length: number): boolean {
    return this.text.length - this.from >= length;
  }
  take(length: number): string {
    const from = this.from;
    this.from += length;
    return this.text.slice(from, this.from);
  }
}

/** Puts the rows of a stream, in their order, back into a log, each piece with the number that it had. */
export class KeptReader {
  private readonly unread = { content: new Unread(), reasoning: new Unread(), tools: new Unread() };
  private waiting: KeptPiece[] = [];
  private isBroken = false;

  /** The log has every piece before the first row in it already. */
  constructor(private readonly log: PieceLog) {}

  add(row: KeptRow): void {
    // What stands behind a gap has no place.
    this.isBroken ||= row.pieces === null || row.firstSeq !== this.log.lastSeq + this.waiting.length + 1;
    if (this.isBroken) return;
    for (const channel of ['content', 'reasoning', 'tools'] as const) this.unread[channel].add(row[channel]);
    this.waiting.push(...row.pieces!);
    let done = 0;
    while (done < this.waiting.length && this.append(this.waiting[done]!)) done += 1;
    this.waiting = done === this.waiting.length ? [] : this.waiting.slice(done);
  }

  /** false: its text is not there yet. */
  private append(piece: KeptPiece): boolean {
    const channel = channelOf(piece);
    if (channel && !this.unread[channel].has(lengthOf(piece))) return false;
    if (typeof piece === 'number') this.log.append({ kind: 'TextDelta', text: this.unread.content.take(piece) });
    else if (piece[0] === 'R') this.log.append({ kind: 'ReasoningDelta', text: this.unread.reasoning.take(piece[1]) });
    else if (piece[0] === 'P')
      this.log.append({ kind: 'StreamProgress', completionTokens: piece[1], estimatedCost: piece[2] });
    else {
      const [, length, index, toolCallId, name] = piece;
      this.unread.tools.take(name?.length ?? 0);
      this.log.append({ kind: 'ToolCallDelta', index, toolCallId, name, arguments: this.unread.tools.take(length) });
    }
    return true;
  }
}
