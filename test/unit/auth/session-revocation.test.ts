import { silentLogger } from '../../../src/lib/logger';
import { RunningCalls } from '../../../src/services/pipeline/running-calls';
import { SessionRevocation } from '../../../src/services/auth/session-revocation';
import type { Viewer } from '../../../src/domain/principal';

const viewerOf = (userId: string, expiresAtMs: number | null): Viewer => ({
  userId,
  organizationId: 'org',
  role: 'MEMBER',
  planId: 'plan',
  tokenId: `token of ${userId}`,
  sessionId: null,
  expiresAtMs,
});

it('credentials that expire end what they have begun also while the database does not answer', () => {
  const [lasting, expiring] = [viewerOf('ann', null), viewerOf('bob', Date.UTC(2000, 0, 1))];
  const connected = [lasting];
  const ended: string[] = [];
  const ends = new SessionRevocation({
    auth: { ended: () => new Promise<never>(() => {}) },
    running: new RunningCalls(),
    logger: silentLogger,
  });
  ends.start({
    principals: () => connected,
    endPrincipals: (match, reason) =>
      ended.push(...connected.filter(match).map(({ userId }) => `${userId}: ${reason}`)),
  });
  try {
    // From now on the database is asked, and says nothing.
    void ends.look();
    connected.push(expiring);
    void ends.look();
    expect(ended).toEqual(['bob: The credentials have expired.']);
  } finally {
    ends.stop();
  }
});
