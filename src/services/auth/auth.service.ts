import { accessNotice } from '../../database/access-notice';
import type { Db } from '../../database/pool';
import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import { LruMap } from '../../lib/lru-map';
import { AuthStore, type TokenOwner } from './auth.store';
import { bearerOf, hashOfSecret, isTokenForm } from './credentials';
import { JwtUsers } from './jwt-users';
import { type AuthConfig, JwtVerifier } from './jwt';
import type { Viewer } from '../../domain/principal';
import type { Plans } from '../../domain/plan';

export interface AuthServiceDeps {
  db: Db;
  config: AuthConfig;
  logger: Logger;
  plans: Pick<Plans, 'list' | 'byId'>;
}

/**
 * Milliseconds for which a good credential is not looked up again: how long a revocation on another replica may take to
 * be seen while its notice cannot be heard.
 */
const CACHE_MS = 2_000;
const CACHED = 20_000;
/** Milliseconds: `lastUsedAt` is this exact. */
const TOUCH_EVERY_MS = 60_000;
/** Milliseconds in which uses are gathered into one write. */
const TOUCH_DELAY_MS = 500;

/** `notice`: what a change of the user is announced by. */
interface Cached {
  viewer: Viewer;
  notice: string;
  until: number;
}

/** Turns a credential into the viewer: API tokens by their hash, JWTs of the identity provider by their signature. */
export class AuthService {
  private readonly store = new AuthStore();
  private readonly cache = new LruMap<string, Cached>(CACHED);
  private readonly loading = new Map<string, Promise<Viewer>>();
  private readonly verifier: JwtVerifier | null;
  private readonly users: JwtUsers;
  /** Tokens that were used lately, each with its organisation. */
  private readonly used = new Map<string, string>();
  private touchTimer: NodeJS.Timeout | undefined;
  private touching: Promise<void> = Promise.resolve();
  // Counts forgettings: a lookup that began before one must not bring the old answer back.
  private epoch = 0;

  constructor(private readonly deps: AuthServiceDeps) {
    this.verifier = deps.config.jwksUrl ? new JwtVerifier(deps.config) : null;
    this.users = new JwtUsers({ ...deps, store: this.store });
  }

  /** The viewer of an `Authorization` header (or `connection_init` value). Throws UNAUTHENTICATED. */
  async authenticate(authorization: string | null | undefined): Promise<Viewer> {
    const secret = bearerOf(authorization);
    if (secret === null) throw new AppError('UNAUTHENTICATED');
    const isToken = isTokenForm(secret);
    if (!isToken && !(this.verifier && secret.split('.').length === 3)) throw new AppError('UNAUTHENTICATED');

    // Within the cache a token is its own key: it is in memory anyway, and hashing it would be a twentieth of a small
    // request. JWTs are long.
    const key = isToken ? secret : hashOfSecret(secret).toString('base64');
    const cached = this.cache.get(key);
    if (cached && performance.now() < cached.until && (cached.viewer.expiresAtMs ?? Infinity) > Date.now())
      return cached.viewer;

    const running = this.loading.get(key);
    if (running) return running;
    const { epoch } = this;
    const until = performance.now() + CACHE_MS;
    const lookup = (isToken ? this.tokenViewer(hashOfSecret(secret)) : this.jwtViewer(secret))
      .then((viewer) => {
        if (epoch === this.epoch) this.cache.set(key, { viewer, notice: accessNotice(viewer.userId), until });
        return viewer;
      })
      .finally(() => this.loading.delete(key));
    this.loading.set(key, lookup);
    return lookup;
  }

  /**
   * Those of the viewers whose credential or user has ended since (revoked, expired, blocked, deleted): asked of the
   * database.
   */
  async ended(viewers: Viewer[]): Promise<Set<Viewer>> {
    if (viewers.length === 0) return new Set();
    const tokenIds = viewers.flatMap((viewer) => viewer.tokenId ?? []);
    const good = await this.store.stillGood(
      this.deps.db,
      [...new Set(viewers.map((viewer) => viewer.organizationId))],
      [...new Set(viewers.map((viewer) => viewer.userId))],
      [...new Set(tokenIds)],
    );
    return new Set(
      viewers.filter((viewer) => {
        if (!good.users.has(viewer.userId)) return true;
        return viewer.tokenId === null
          ? (viewer.expiresAtMs ?? Infinity) <= Date.now()
          : !good.tokens.has(viewer.tokenId);
      }),
    );
  }

  /** The user or one of its tokens has changed: look again at the next call. */
  forgetUser(userId: string): void {
    this.forget(accessNotice(userId));
  }

  /** As `forgetUser`, for the user that a notice is about. */
  forget(notice: string): void {
    this.forgetWhere((cached) => cached.notice === notice);
  }

  forgetAll(): void {
    this.forgetWhere(() => true);
  }

  /** Writes down what was used lately. */
  async flush(): Promise<void> {
    clearTimeout(this.touchTimer);
    this.touchTimer = undefined;
    const ids = [...this.used.keys()];
    const organizationIds = [...new Set(this.used.values())];
    this.used.clear();
    if (ids.length) {
      this.touching = this.store.touch(this.deps.db, { organizationIds, ids }).catch((error: unknown) => {
        this.deps.logger.warn({ err: error, tokens: ids.length }, 'the last use of tokens was not written');
      });
    }
    await this.touching;
  }

  async stop(): Promise<void> {
    await this.flush();
  }

  private forgetWhere(match: (cached: Cached) => boolean): void {
    this.epoch += 1;
    this.cache.deleteWhere(match);
    this.loading.clear();
  }

  private async tokenViewer(hash: Buffer): Promise<Viewer> {
    const owner = await this.store.ownerOf(this.deps.db, hash);
    if (!owner) throw new AppError('UNAUTHENTICATED');
    if (owner.lastUsedAt === null || Date.now() - owner.lastUsedAt.getTime() > TOUCH_EVERY_MS) this.markUsed(owner);
    const { userId, organizationId, role, planId, tokenId, expiresAt } = owner;
    return {
      userId,
      organizationId,
      role,
      planId,
      tokenId,
      sessionId: null,
      expiresAtMs: expiresAt?.getTime() ?? null,
    };
  }

  private async jwtViewer(token: string): Promise<Viewer> {
    const identity = await this.verifier!.verify(token);
    const user = await this.users.find(identity);
    const { id: userId, organizationId, role, planId } = user;
    return {
      userId,
      organizationId,
      role,
      planId,
      tokenId: null,
      sessionId: identity.sessionId,
      expiresAtMs: identity.expiresAtMs,
    };
  }

  private markUsed({ tokenId, organizationId }: TokenOwner): void {
    this.used.set(tokenId, organizationId);
    this.touchTimer ??= setTimeout(() => void this.flush(), TOUCH_DELAY_MS).unref();
  }
}
