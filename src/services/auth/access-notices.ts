import { ACCESS_CHANNEL } from '../../database/access-notice';
import { Listener } from '../../database/listener';
import type { Logger } from '../../lib/logger';
import type { SessionRevocation } from './session-revocation';
import type { AuthService } from './auth.service';

/** How often it is asked whether the connection still listens. Milliseconds. */
const CHECK_EVERY_MS = 1_000;

export interface AccessNoticesDeps {
  databaseUrl: string;
  auth: Pick<AuthService, 'forget' | 'forgetAll'>;
  ends: Pick<SessionRevocation, 'look'>;
  logger: Logger;
}

/**
 * Makes a change of who may do what hold on every replica at once: on a notice, what this process remembers of the
 * user's credentials is forgotten, and what ended ones have begun is ended. While the connection that listens is away,
 * credentials are looked up again every two seconds all the same.
 */
export class AccessNotices {
  private readonly listener: Listener;
  private timer: NodeJS.Timeout | undefined;

  constructor({ databaseUrl, auth, ends, logger }: AccessNoticesDeps) {
    this.listener = new Listener({
      databaseUrl,
      applicationName: 'weir-access',
      channel: ACCESS_CHANNEL,
      onNotification: (notice) => {
        auth.forget(notice);
        void ends.look();
      },
      // Notices that were sent while the connection was down are lost.
      onListening: async () => {
        auth.forgetAll();
        await ends.look();
      },
      onLost: (error) => logger.warn({ err: error }, 'the connection that listens for changes of access was lost'),
      onRefused: (error) =>
        logger.warn(
          { err: error },
          'access notifications cannot be received: changes on other replicas take effect up to two seconds later',
        ),
    });
  }

  async start(): Promise<void> {
    this.timer = setInterval(() => void this.listener.check(), CHECK_EVERY_MS).unref();
    await this.listener.start();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.listener.stop();
  }
}
