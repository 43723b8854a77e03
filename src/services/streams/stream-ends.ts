import { callIdOfStream, streamIdOfCall } from '../../lib/ids';
import { terminalEvent, type StreamEvent, type TerminalEvent, type Unnumbered } from '../../domain/stream-events';
import type { Conversation } from '../../domain/conversation';
import type { Viewer } from '../../domain/principal';
import { knownEnd, lostEnd, restOf, textOf } from './kept-end';
import type { KeptStore } from './kept.store';
import type { CallRecord, StopReason } from '../../domain/call';

export interface StreamEndsDeps {
  store: Pick<KeptStore, 'look' | 'end'>;
  call(viewer: Viewer, callId: string): Promise<CallRecord | null>;
  conversation(viewer: Viewer, id: string): Promise<Conversation | null>;
  /** Behind the death of the owner, until viewers are told without the usage row. Milliseconds. */
  decisionMs?: number;
}

/**
 * What is known of a stream whose log has no end. LATE: its process is dead for long, and nobody has ended its call
 * yet.
 */
export interface StreamState {
  state: 'RUNNING' | 'ENDED' | 'LATE';
  stopReason: StopReason | null;
}

/** No checkpoint has this number: none is read. */
const NO_ROWS = 2 ** 31 - 1;
/**
 * As of streams whose events nobody has (kept-streams.ts): the row is there long before, where anything is known of the
 * call.
 */
const DECISION_MS = 60_000;

/**
 * What the database says of the ends of streams: there, and nowhere else, it is decided who has stopped and who is
 * dead.
 */
export class StreamEnds {
  constructor(private readonly deps: StreamEndsDeps) {}

  /** By stream id. One statement. */
  async look(streamIds: readonly string[]): Promise<Map<string, StreamState>> {
    const looks = await this.deps.store.look(
      streamIds.map((id) => ({ organizationId: null, callId: callIdOfStream(id), afterRow: NO_ROWS })),
    );
    const decisionMs = this.deps.decisionMs ?? DECISION_MS;
    return new Map(
      looks.map(({ callId, flight }) => {
        const state =
          flight === null ? 'ENDED' : flight.deadMs !== null && flight.deadMs >= decisionMs ? 'LATE' : 'RUNNING';
        return [streamIdOfCall(callId), { state, stopReason: flight?.stopReason as StopReason | null }];
      }),
    );
  }

  /**
   * The terminal event of a stream that runs no more, of which these are the pieces. null: they are not all, or that
   * cannot be told. `isLost`: its process died, and may have shown more than was kept.
   */
  async terminalEvent(
    streamId: string,
    viewer: Viewer,
    pieces: Iterable<StreamEvent>,
    { state, stopReason }: StreamState,
  ): Promise<{ event: Unnumbered<TerminalEvent>; isLost: boolean } | null> {
    const callId = callIdOfStream(streamId);
    const kept = textOf(pieces);
    const call = await this.deps.call(viewer, callId);
    if (!call) return null;
    const conversation =
      call.conversationId === null ? null : await this.deps.conversation(viewer, call.conversationId);
    if (state === 'LATE')
      return { event: terminalEvent(lostEnd(call, kept, null, conversation).outcome), isLost: true };
    const end = await this.deps.store.end(call.organizationId, callId);
    if (!end || call.status === 'RUNNING') return null;
    const { outcome, answer } = knownEnd({ call, end, conversation, kept, stopReason });
    const rest = answer && restOf(answer, kept);
    const isAll = rest && !rest.content && !rest.reasoning && rest.toolCalls.length === 0;
    return isAll ? { event: terminalEvent(outcome), isLost: call.status === 'LOST' } : null;
  }
}
