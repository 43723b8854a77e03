import type { PieceGroup, PieceLog } from './piece-log';
import { reviveChatReply, reviveConversation } from '../../domain/outcome';
import { reviveRefusal } from '../../domain/refusal';
import { isTerminal, type NewEvent, type TerminalEvent, type Unnumbered } from '../../domain/stream-events';

/** What one entry of a log says. */
export interface LogEntry {
  fromSeq: number;
  seq: number;
  event: NewEvent;
  /** Characters of each piece, where there is more than one. */
  lengths: number[] | null;
  /** Who wrote it. */
  owner: string;
  /** Viewers in the process that runs the stream, when it was written. */
  viewers: number;
}

export interface EntryWords {
  fromSeq: number;
  seq: number;
  words: string[];
}

/** What is behind a number, as the words of entries. The number of an entry's last piece is its id. */
export function* entriesOf(
  log: PieceLog,
  after: number,
  until: number,
  owner: string,
  viewers: number,
): Generator<EntryWords> {
  let fromSeq = after + 1;
  for (const part of log.groups(after, until)) {
    const isGroup = 'header' in part;
    const seq = isGroup ? fromSeq + part.lengths.length - 1 : part.seq;
    const words = [
      'f',
      String(fromSeq),
      'o',
      owner,
      'e',
      JSON.stringify(isGroup ? eventOf(part) : { ...part, fromSeq: undefined, seq: undefined }),
    ];
    // A viewer may go on from any number: where pieces end has to be known.
    if (isGroup && seq > fromSeq) words.push('p', part.lengths.join());
    if (viewers > 0) words.push('v', String(viewers));
    if (!isGroup && isTerminal(part)) words.push('x', '1');
    yield { fromSeq, seq, words };
    fromSeq = seq + 1;
  }
}

const eventOf = ({ header, text }: PieceGroup): NewEvent =>
  header.kind === 'ToolCallDelta' ? { ...header, arguments: text } : { ...header, text };

export const terminalJson = (event: Unnumbered<TerminalEvent>): string => JSON.stringify(event);

/** An entry as XRANGE gives it. Throws for anything that is none. */
export function readEntry(raw: unknown): LogEntry {
  const [id, words] = raw as [string, string[]];
  const fields: Record<string, string> = {};
  for (let i = 0; i < words.length; i += 2) fields[words[i]!] = words[i + 1]!;
  const seq = Number.parseInt(id, 10);
  return {
    fromSeq: Number(fields.f),
    seq,
    event: revive(JSON.parse(fields.e!) as NewEvent),
    lengths: fields.p === undefined ? null : fields.p.split(',').map(Number),
    owner: fields.o!,
    viewers: Number(fields.v ?? 0),
  };
}

/** The pieces of an entry from a number on, one by one, as they were added. */
export function* piecesOf({ event, fromSeq, lengths }: LogEntry, from: number): Generator<NewEvent> {
  if (!lengths) {
    if (from <= fromSeq) yield event;
    return;
  }
  let at = 0;
  for (const [index, length] of lengths.entries()) {
    if (fromSeq + index >= from) {
      if (event.kind === 'ToolCallDelta')
        yield {
          ...event,
          ...(index > 0 ? { toolCallId: null, name: null } : {}),
          arguments: event.arguments.slice(at, at + length),
        };
      else if (event.kind === 'TextDelta' || event.kind === 'ReasoningDelta')
        yield { kind: event.kind, text: event.text.slice(at, at + length) };
    }
    at += length;
  }
}

/** Dates are text in JSON. */
function revive(event: NewEvent): NewEvent {
  switch (event.kind) {
    case 'StreamStarted':
      return { ...event, conversation: event.conversation && reviveConversation(event.conversation) };
    case 'StreamCompleted':
    case 'StreamStopped':
      return { ...event, reply: reviveChatReply(event.reply) };
    case 'StreamFailed':
      return {
        ...event,
        refusal: reviveRefusal(event.refusal),
        partial: event.partial && reviveChatReply(event.partial),
      };
    case 'StreamRefused':
      return { ...event, refusal: reviveRefusal(event.refusal) };
    default:
      return event;
  }
}
