import type { Viewer } from './principal';
import type { StopReason } from './call';

/** A call that this process is running. */
export interface RunningCall {
  readonly callId: string;
  readonly viewer: Viewer;
  readonly streamed: boolean;
  /** Resolves when the call has ended: whether its usage row is written. Never rejects. */
  readonly done: Promise<boolean>;
  /**
   * Aborts the upstream at once; what came is kept. Harmless when repeated. false: it has ended by itself, and is being
   * booked.
   */
  stop(reason: StopReason): boolean;
}

/** What runs in this process. */
export interface RunningRegister {
  find(callId: string): RunningCall | null;
  streams(): RunningCall[];
  /** Stops what matches and gives how many that were. */
  stopWhere(match: (call: RunningCall) => boolean, reason: StopReason): number;
}
