import { Coalesced } from '../../lib/coalesced';
import type { Logger } from '../../lib/logger';
import type { RunningRegister, RunningCall } from '../../domain/running-call';
import type { Viewer } from '../../domain/principal';
import type { AuthService } from './auth.service';

/** Where viewers are connected: the doors of the server. */
export interface ConnectedPrincipals {
  principals(): Viewer[];
  /**
   * What these viewers look at and does not end by itself within `graceMs` (milliseconds) ends with an error; then they
   * are disconnected.
   */
  endPrincipals(match: (viewer: Viewer) => boolean, reason: string, graceMs: number): void;
}
export interface SessionRevocationDeps {
  auth: Pick<AuthService, 'ended'>;
  running: Pick<RunningRegister, 'streams' | 'stopWhere'>;
  logger: Logger;
}

/**
 * How soon revoked and expired credentials end what they have begun; then the last words are waited for. The acceptance
 * limit is 5 s for both. Milliseconds.
 */
const LOOK_EVERY_MS = 1_000;
/**
 * How long a stream has to be stopped, by the replica that runs it and looks at other moments than this one, to be
 * booked, and to tell its viewers so. Milliseconds.
 */
const GRACE_MS = LOOK_EVERY_MS + 1_000;

/**
 * Ends what credentials have begun when they end: their streams first, watched or not, so that viewers are told and the
 * answer is kept; then their connections. A stream belongs to the credential that began it: another one of the same
 * user does not keep it alive.
 * Each process looks after the streams that it runs and the viewers that it has. A whole answer was admitted and is
 * finished, except where this process itself is told that its user may do nothing any more.
 */
export class SessionRevocation {
  private timer: NodeJS.Timeout | null = null;
  private doors: ConnectedPrincipals | null = null;
  private readonly looks: Coalesced;

  constructor(private readonly deps: SessionRevocationDeps) {
    this.looks = new Coalesced(
      () => this.endEnded(),
      (error) => deps.logger.warn({ err: error }, 'revoked and expired credentials could not be looked up'),
    );
  }

  start(doors: ConnectedPrincipals): void {
    this.doors = doors;
    this.timer = setInterval(() => void this.look(), LOOK_EVERY_MS).unref();
  }

  stop(): void {
    if (this.timer) clearInterval(this.timer);
    void this.looks.stop();
  }

  /** The user may do nothing any more. */
  endUser(userId: string): void {
    this.end(
      (viewer) => viewer.userId === userId,
      () => true,
      'The credentials are no longer valid.',
    );
  }

  /** Ends what belongs to credentials that have ended. Never rejects: what fails is found by the next look. */
  look(): Promise<void> {
    const now = Date.now();
    const expired = (viewer: Viewer): boolean => viewer.expiresAtMs !== null && viewer.expiresAtMs <= now;
    // Not a question to the database, which may be away, or silent.
    if (this.viewers().some(expired)) this.end(expired, isStream, 'The credentials have expired.');
    return this.looks.run();
  }

  private async endEnded(): Promise<void> {
    const viewers = this.viewers();
    if (viewers.length === 0) return;
    const ended = await this.deps.auth.ended(viewers);
    if (ended.size > 0) this.end((viewer) => ended.has(viewer), isStream, 'The credentials are no longer valid.');
  }

  private viewers(): Viewer[] {
    return [...this.deps.running.streams().map((call) => call.viewer), ...(this.doors?.principals() ?? [])];
  }

  private end(match: (viewer: Viewer) => boolean, which: (call: RunningCall) => boolean, reason: string): void {
    this.deps.running.stopWhere((call) => which(call) && match(call.viewer), 'AUTHORIZATION');
    // Whoever looks at nothing that is to end goes at once, or when it has ended.
    this.doors?.endPrincipals(match, reason, GRACE_MS);
  }
}

const isStream = (call: RunningCall): boolean => call.streamed;
