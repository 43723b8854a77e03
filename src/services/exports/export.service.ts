import { setTimeout as wait } from 'node:timers/promises';
import { AppError, badInput } from '../../errors';
import type { Logger } from '../../lib/logger';
import { LruMap } from '../../lib/lru-map';
import type { Viewer } from '../../domain/principal';
import { ExportFile, ExportLinkError, HEADER_BYTES, refuseDropped, refuseRenamed } from './export-file';
import { ExportIndex } from './export-index';
import { EXPORT_PATH, type ExportLink, type ExportLinks } from './export-link';
import type { ExportStore } from './export.store';
import { partOf, type ExportDownload, type ExportRequest } from './export.types';
import { reportLimiter } from '../usage/report-limiter';
import { scopeFilter, type ScopedFilter } from '../usage/usage-scope';
import type { UsageFilter } from '../usage/usage.types';
import type { AuthService } from '../auth/auth.service';
import type { PeopleService } from '../accounts/people.service';

export interface ExportServiceDeps {
  store: ExportStore;
  links: ExportLinks;
  /** Throws for the future; afterwards nothing comes to what was true at that time. */
  asOf: { check(at: Date): Promise<unknown> };
  auth: Pick<AuthService, 'ended'>;
  people: Pick<PeopleService, 'usersById'>;
  logger: Logger;
  /** Instead of the usual ones, for tests. */
  limits?: Partial<typeof LIMITS>;
}

/** Milliseconds in which a download has to begin, and in which one that has begun can be continued. */
const BEGIN_WITHIN_MS = 15 * 60_000;
const CONTINUE_WITHIN_MS = 24 * 3_600_000;
const LIMITS = {
  /**
   * Milliseconds that go into counting the bytes of a whole file before it is sent: most are counted by then, and their
   * clients see how far they are.
   */
  countWholeMs: 2_000,
  /**
   * The same for a part, which cannot be told without the length of the whole. What could not be counted by then goes
   * on with the next request.
   */
  countPartMs: 45_000,
  /** Milliseconds between two looks at the rights of whoever reads. */
  checkEveryMs: 5_000,
};
// Downloads at the same time in this process. They wait for their clients most of the time: of their statements only
// two run at once.
const MAX_DOWNLOADS = 20;
const MAX_OF_USER = 3;
const STATEMENTS = 2;
const TURN_MS = 120_000;
const RETRY_AFTER_MS = 10_000;
/** Files of which the places are remembered: 512 of about 100 bytes each. */
const INDEXES = 100;

/**
 * Files of single calls, by links that carry everything they are made of. Who sees what: `scopeFilter`, when the link
 * is made and whenever it is used.
 */
export class ExportService {
  private readonly limiter = reportLimiter({
    max: STATEMENTS,
    maxWaiting: MAX_DOWNLOADS,
    maxWaitingOfKey: MAX_DOWNLOADS,
    waitMs: TURN_MS,
  });
  private readonly indexes = new LruMap<string, ExportIndex>(INDEXES);
  private readonly downloads = new Map<string, number>();
  private running = 0;
  private readonly limits: typeof LIMITS;

  constructor(private readonly deps: ExportServiceDeps) {
    this.limits = { ...LIMITS, ...deps.limits };
  }

  /**
   * Throws FORBIDDEN (organisations, for others than operators), BAD_USER_INPUT (a time in the future, calls that were
   * removed, a filter too long for a link), SERVICE_UNAVAILABLE.
   */
  async link(viewer: Viewer, asked: UsageFilter, pricesAsOf: Date | null): Promise<{ path: string; expiresAt: Date }> {
    const { store, links } = this.deps;
    const filter = scopeFilter(viewer, asked);
    const { now, droppedBefore } = await store.clock();
    if (droppedBefore && !(filter.from && filter.from >= droppedBefore)) {
      throw badInput(
        'filter.from',
        `single calls are kept from ${droppedBefore.toISOString()} on: ask for that time or a later one. What came before is in \`usage\``,
      );
    }
    const asOf = pricesAsOf ?? now;
    // That is the end of this millisecond, so that what was settled in it is in the file.
    if (!pricesAsOf) await wait(2);
    await this.deps.asOf.check(asOf);
    const token = links.tokenOf({
      organizationId: viewer.organizationId,
      userId: viewer.userId,
      tokenId: viewer.tokenId,
      filter,
      asOf,
      names: await store.names(filter, asOf),
      madeAt: now,
    });
    if (token === null) throw badInput('filter', 'names too much for a link: ask for fewer at a time');
    return { path: `${EXPORT_PATH}/${token}`, expiresAt: new Date(now.getTime() + BEGIN_WITHIN_MS) };
  }

  /**
   * Throws ExportLinkError where the link gives nothing, RATE_LIMITED where too many read, SERVICE_UNAVAILABLE where
   * the length could not be counted yet.
   */
  async open(token: string, request: ExportRequest): Promise<ExportDownload> {
    const { store, links, logger } = this.deps;
    const link = links.read(token);
    if (!link) throw new ExportLinkError('UNKNOWN', 'There is no such file.');
    const tag = links.tagOf(token);
    // Another file, for whoever has a part of one that this link does not give.
    const asked =
      request.range !== null && (request.ifRange === null || request.ifRange === tag) ? request.range : null;
    const { now, droppedBefore } = await store.clock();
    const ageMs = now.getTime() - link.madeAt.getTime();
    // Whoever says the tag has begun in time.
    const continues = asked !== null && request.ifRange === tag;
    if (ageMs > (continues ? CONTINUE_WITHIN_MS : BEGIN_WITHIN_MS)) throw new ExportLinkError('EXPIRED', EXPIRED);
    await this.checkRights(link);
    refuseDropped(droppedBefore, link.filter.from ?? null);
    refuseRenamed(await store.names(link.filter, link.asOf), link);

    const release = this.enter(link.userId);
    try {
      const file = await this.fileOf(token, link, request.signal);
      const total = await file.measure(asked ? this.limits.countPartMs : this.limits.countWholeMs);
      if (asked && total === null)
        throw new AppError('SERVICE_UNAVAILABLE', {
          public: 'The length of the file is still being counted: ask for this part again.',
          retryAfterMs: 1_000,
        });
      const part = asked && partOf(asked, total!);
      let begun: number | null = null;
      let bytes = 0;
      return {
        tag,
        total,
        part,
        fileName: nameOf(link),
        read: async function* () {
          begun = performance.now();
          // Where the length is known nobody has to look whether there is more.
          for await (const piece of file.read(part?.from ?? 0, part?.to ?? (total === null ? null : total - 1))) {
            bytes += piece.length;
            yield piece;
          }
        },
        close: () => {
          if (release() && begun !== null)
            logger.info(
              { userId: link.userId, from: part?.from ?? 0, bytes, ms: Math.round(performance.now() - begun) },
              'an export was read',
            );
        },
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  private async fileOf(token: string, link: ExportLink, signal: AbortSignal): Promise<ExportFile> {
    const { store } = this.deps;
    let index = this.indexes.get(token);
    if (!index) this.indexes.set(token, (index = new ExportIndex(HEADER_BYTES)));
    let checkedAt = performance.now();
    return new ExportFile({
      store,
      link,
      index,
      changes: await store.changes(link.asOf),
      turn: (work) => this.limiter.run(link.userId, work),
      check: async () => {
        signal.throwIfAborted();
        if (performance.now() - checkedAt < this.limits.checkEveryMs) return;
        await this.checkRights(link);
        checkedAt = performance.now();
      },
    });
  }

  /** Whoever made the link must still be somebody who may see all of it. */
  private async checkRights({ organizationId, userId, tokenId, filter }: ExportLink): Promise<void> {
    const { auth, people } = this.deps;
    const [user] = await people.usersById([userId], organizationId);
    const viewer = user && {
      userId,
      organizationId,
      role: user.role,
      planId: user.planId,
      tokenId,
      sessionId: null,
      expiresAtMs: null,
    };
    if (!viewer || (await auth.ended([viewer])).size > 0 || !mayRead(viewer, filter))
      throw new ExportLinkError('FORBIDDEN', 'Whoever made this link may no longer read what it gives.');
  }

  /**
   * Throws RATE_LIMITED. What it gives back ends the download, and says whether it did: the second time it does
   * nothing.
   */
  private enter(userId: string): () => boolean {
    const ofUser = this.downloads.get(userId) ?? 0;
    if (this.running >= MAX_DOWNLOADS || ofUser >= MAX_OF_USER)
      throw new AppError('RATE_LIMITED', {
        public: `Too many files are being read, at most ${MAX_OF_USER} by one user: wait for one to end.`,
        retryAfterMs: RETRY_AFTER_MS,
      });
    this.running += 1;
    this.downloads.set(userId, ofUser + 1);
    let open = true;
    return () => {
      if (!open) return false;
      open = false;
      this.running -= 1;
      const left = this.downloads.get(userId)! - 1;
      if (left > 0) this.downloads.set(userId, left);
      else this.downloads.delete(userId);
      return true;
    };
  }
}

const EXPIRED = `This link has ended: a download begins within ${BEGIN_WITHIN_MS / 60_000} minutes after it was made. Ask for a new one with exportUsage; with \`pricesAsOf\` it gives the same calls and costs.`;

/** The same rule as `scopeFilter`, for a filter that was cut before: a role may have changed since. */
function mayRead(viewer: Viewer, { organizationIds, userIds }: ScopedFilter): boolean {
  if (viewer.role === 'OPERATOR') return true;
  if (!organizationIds || organizationIds.some((id) => id !== viewer.organizationId)) return false;
  return viewer.role !== 'MEMBER' || (userIds !== null && userIds.every((id) => id === viewer.userId));
}

/** Letters that every system takes in a name. */
function nameOf({ filter, asOf }: ExportLink): string {
  const stamp = (date: Date): string => date.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return (
    [
      'weir-calls',
      filter.from && `from-${stamp(filter.from)}`,
      filter.to && `to-${stamp(filter.to)}`,
      `as-of-${stamp(asOf)}`,
    ]
      .filter(Boolean)
      .join('_') + '.csv'
  );
}
