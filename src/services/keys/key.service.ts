import type { Db, Tx } from '../../database/pool';
import { AppError } from '../../errors';
import { BackgroundLoop } from '../../lib/background-loop';
import { ConcurrencyLimiter } from '../../lib/concurrency';
import type { Logger } from '../../lib/logger';
import { LruMap } from '../../lib/lru-map';
import { type LitellmAdmin, ProxyRefusedError } from '../upstream/litellm/admin';
import type { Plan } from '../../domain/plan';
import type { UserRef, VirtualKeyInfo } from '../../domain/principal';
import { hashOf, KeySecrets } from './key-secrets';
import { type KeyOwner, type KeyRow, KeyStore } from './key.store';
import { TeamSync } from './team-sync';
import type { PlanService } from '../plans/plan.service';

export interface KeyServiceDeps {
  db: Db;
  /** null in direct mode: there are no keys then. */
  admin: LitellmAdmin | null;
  /** Base64 of 32 bytes. */
  secretKey: string;
  plans: Pick<PlanService, 'list' | 'byId'>;
  /** Models of the upstream that a plan allows now. */
  modelsOf(plan: Plan): string[];
  logger: Logger;
}

/** How often the background looks for what was left undone, and how soon after a failure. Milliseconds. */
const CATCH_UP_EVERY_MS = 60_000;
const FIRST_RETRY_MS = 1_000;
const CACHED_KEYS = 50_000;
/**
 * Milliseconds in which the same user's key is not repaired twice: a model that the proxy really refuses would ask for
 * it with every call.
 */
const REPAIR_EVERY_MS = 5_000;

/**
 * The users' keys at the proxy. A user's row in the database says what the key should be; `follow` makes the proxy
 * agree, and what could not be done is repeated in the background until it is.
 */
export class KeyService {
  private readonly store = new KeyStore();
  private readonly secrets: KeySecrets;
  private readonly keys = new LruMap<string, string>(CACHED_KEYS);
  private readonly unreadable = new LruMap<string, true>(CACHED_KEYS);
  private readonly repairedAt = new LruMap<string, number>(10_000);
  private readonly making = new Map<string, Promise<string>>();
  private readonly teams: TeamSync | null;
  private readonly loop: BackgroundLoop;
  // Each holds a connection while the proxy answers: most of the pool stays free.
  private readonly limiter = new ConcurrencyLimiter({ max: 2 });
  private installation: Promise<string> | null = null;

  constructor(private readonly deps: KeyServiceDeps) {
    this.secrets = new KeySecrets(deps.secretKey);
    const { db, admin, modelsOf } = deps;
    this.teams =
      admin &&
      new TeamSync({
        db,
        admin,
        store: this.store,
        modelsOf: (plan) => modelsOf(plan),
        teamId: (planId) => this.nameOf(planId),
        alone: this.alone,
      });
    this.loop = new BackgroundLoop({
      what: 'telling the proxy of users, plans and keys',
      everyMs: CATCH_UP_EVERY_MS,
      firstRetryMs: FIRST_RETRY_MS,
      work: () => this.catchUp(),
      logger: deps.logger,
    });
  }

  /** Catches up with what was left undone, now and then in the background. */
  start(): void {
    if (this.deps.admin) this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop.stop();
  }

  /**
   * The secret for the user's calls. Made at the proxy on the first call. Throws SERVICE_UNAVAILABLE, UNAUTHENTICATED
   * (the user is gone).
   */
  async keyFor(viewer: KeyOwner): Promise<string> {
    return this.keys.get(viewer.userId) ?? this.once(viewer.userId, () => this.load(viewer));
  }

  /**
   * For a key that the proxy has refused although the plan allows the call: checks key, team and models at the proxy
   * and puts right what differs. Call it once, then repeat the call once. Throws SERVICE_UNAVAILABLE.
   */
  async repair(viewer: KeyOwner): Promise<void> {
    if (Date.now() - (this.repairedAt.get(viewer.userId) ?? 0) < REPAIR_EVERY_MS) return;
    this.forget(viewer.userId);
    await this.once(viewer.userId, () => this.load(viewer, true));
    this.repairedAt.set(viewer.userId, Date.now());
  }

  /** Per user: what may be shown of the key at the proxy; null before the first call. */
  async infoOf(users: readonly UserRef[]): Promise<(VirtualKeyInfo | null)[]> {
    const infos = await this.store.infoOf(this.deps.db, users);
    return users.map(({ id }) => infos.get(id) ?? null);
  }

  /** Tells the proxy what a plan's team may use, if that changed. Never throws: a failure is logged and repeated. */
  async syncPlan(plan: Plan): Promise<void> {
    await this.orLater('the team of a plan could not be brought to the proxy', { planId: plan.id }, async () =>
      this.teams?.sync(plan),
    );
  }

  /** All plans: after the list of models has changed. Never throws. */
  async syncAll(): Promise<void> {
    for (const plan of await this.deps.plans.list()) await this.syncPlan(plan);
  }

  /**
   * Makes the user's key at the proxy what the user's row says: plan, blocked, deleted. Never throws: a failure is
   * logged and repeated.
   */
  async follow(owner: KeyOwner): Promise<void> {
    const { userId } = owner;
    this.forget(userId);
    await this.orLater('a key could not be brought in line at the proxy', { userId }, () => this.apply(owner));
  }

  forget(userId: string): void {
    this.keys.delete(userId);
  }

  private async load(owner: KeyOwner, check = false): Promise<string> {
    const admin = this.admin();
    let row = await this.store.read(this.deps.db, owner);
    if (!row) {
      const fresh = this.secrets.make(owner.userId);
      await this.store.claim(this.deps.db, owner, fresh.encrypted, fresh.hint);
      row = await this.store.read(this.deps.db, owner);
    }
    if (row && !row.wanted.deleted && this.secrets.open(row) === null) {
      await this.replace(this.deps.db, row);
      row = await this.store.read(this.deps.db, owner);
    }
    if (!row || row.wanted.deleted) throw new AppError('UNAUTHENTICATED');
    const secret = this.secrets.read(row);
    if (!row.confirmed || (check && !(await this.inspect(admin, row, secret))))
      row = await this.create(admin, row, secret);
    if (row.planId !== row.wanted.planId || row.blocked !== row.wanted.blocked) await this.follow(row);
    this.keys.set(row.userId, secret);
    return secret;
  }

  /** Makes the key; finding it made already (a lost answer, another replica) is as good. */
  private async create(admin: LitellmAdmin, row: KeyRow, secret: string): Promise<KeyRow> {
    const plan = await this.planOf(row);
    await this.teams!.sync(plan);
    const hash = hashOf(secret);
    const alias = await this.nameOf(row.userId);
    const teamId = await this.nameOf(plan.id);
    const create = (): Promise<boolean> =>
      admin.createKey({ key: secret, alias, teamId, metadata: metadataOf(row.userId, plan.id) });
    const ours = async (): Promise<boolean> => {
      const info = await admin.keyInfo(hash);
      if (info?.alias !== alias) return false;
      if (info.teamId !== teamId) await admin.moveKey(hash, teamId, metadataOf(row.userId, plan.id));
      if (info.blocked) await admin.blockKey(hash, false);
      return true;
    };
    let made = await create().catch(async (error: unknown) => {
      // Two at once: its own check of names lets both through, its table only one.
      if (error instanceof ProxyRefusedError && (await ours())) return true;
      throw error;
    });
    if (!made && !(await ours())) {
      // The alias belongs to a key whose secret we do not have any more.
      await admin.deleteKey({ alias });
      made = (await create()) || (await ours());
      if (!made) throw new AppError('SERVICE_UNAVAILABLE', { internal: `the proxy does not make the key ${alias}` });
    }
    const confirmed = await this.store.confirm(this.deps.db, row, plan.id);
    if (confirmed) return confirmed;
    // Removed while the proxy was making it.
    await admin.deleteKey({ hash });
    throw new AppError('UNAUTHENTICATED');
  }

  /** Compares with the proxy and puts right; false: the proxy does not know the key. */
  private async inspect(admin: LitellmAdmin, row: KeyRow, secret: string): Promise<boolean> {
    const plan = await this.planOf(row);
    await this.teams!.sync(plan, true);
    const hash = hashOf(secret);
    const info = await admin.keyInfo(hash);
    if (!info) {
      await this.store.unconfirm(this.deps.db, row);
      return false;
    }
    const teamId = await this.nameOf(plan.id);
    if (info.teamId !== teamId) await admin.moveKey(hash, teamId, metadataOf(row.userId, plan.id));
    if (info.blocked !== row.wanted.blocked) await admin.blockKey(hash, row.wanted.blocked);
    await this.store.told(this.deps.db, row, row.wanted);
    return true;
  }

  private async apply(owner: KeyOwner): Promise<void> {
    const { admin, db } = this.deps;
    if (!admin) return;
    const { userId } = owner;
    const before = await this.store.read(db, owner);
    // Before the lock below: it takes one of its own.
    if (before?.confirmed && !before.wanted.deleted && before.planId !== before.wanted.planId)
      await this.teams!.sync(await this.planOf(before));
    await this.alone(db, `weir.key.${userId}`, async (tx) => {
      const row = await this.store.read(tx, owner);
      if (!row) return;
      const { wanted } = row;
      if (wanted.deleted) {
        await admin.deleteKey(await this.handleOf(row));
        await this.store.remove(tx, owner);
        return;
      }
      if (!row.confirmed) return;
      const secret = this.secrets.open(row);
      if (secret === null) {
        // The proxy can be told nothing about a key that we cannot name but by its alias.
        await admin.deleteKey(await this.handleOf(row));
        await this.replace(tx, row);
        return;
      }
      const hash = hashOf(secret);
      let known = true;
      if (row.planId !== wanted.planId)
        known = await admin.moveKey(hash, await this.nameOf(wanted.planId), metadataOf(userId, wanted.planId));
      if (known && row.blocked !== wanted.blocked) known = await admin.blockKey(hash, wanted.blocked);
      if (known) await this.store.told(tx, owner, wanted);
      // The proxy has lost it: the next call makes it again.
      else await this.store.unconfirm(tx, owner);
    });
  }

  /** Everything that is still to be told to the proxy. Throws when the proxy cannot be reached. */
  private async catchUp(): Promise<void> {
    for (const plan of await this.deps.plans.list()) await this.teams!.sync(plan);
    let refused: unknown = null;
    for (const owner of await this.store.pending(this.deps.db, 500)) {
      try {
        await this.apply(owner);
      } catch (error) {
        // One that the proxy refuses must not keep the others waiting.
        if (!(error instanceof ProxyRefusedError)) throw error;
        refused = error;
      }
    }
    if (refused) throw refused;
  }

  private async orLater(what: string, subject: Record<string, string>, work: () => Promise<unknown>): Promise<void> {
    if (!this.deps.admin) return;
    try {
      await work();
    } catch (error) {
      this.deps.logger.warn({ err: error, ...subject }, `${what}; it will be tried again`);
      this.loop.soon();
    }
  }

  /** One at a time for each user: fifty first calls make one key. */
  private once(userId: string, work: () => Promise<string>): Promise<string> {
    const running = this.making.get(userId);
    if (running) return running;
    const started = work().finally(() => this.making.delete(userId));
    this.making.set(userId, started);
    return started;
  }

  private readonly alone: KeyStore['alone'] = (db, subject, work) =>
    this.limiter.run('', () => this.store.alone(db, subject, work));

  private admin(): LitellmAdmin {
    if (!this.deps.admin) throw new Error('there are no virtual keys without a proxy');
    return this.deps.admin;
  }

  private async planOf(row: KeyRow): Promise<Plan> {
    const plan = await this.deps.plans.byId(row.wanted.planId);
    if (!plan)
      throw new AppError('SERVICE_UNAVAILABLE', { internal: `the plan ${row.wanted.planId} is not known here yet` });
    return plan;
  }

  /** Alias of a user's key, or id of a plan's team: unique among all installations that share a proxy. */
  private async nameOf(id: string): Promise<string> {
    this.installation ??= this.store.installationId(this.deps.db).catch((error: unknown) => {
      this.installation = null;
      throw error;
    });
    return `weir-${await this.installation}-${id}`;
  }

  /** A secret that can no longer be read leaves the alias. */
  private async handleOf(row: KeyRow): Promise<{ hash: string } | { alias: string }> {
    const secret = this.secrets.open(row);
    return secret === null ? { alias: await this.nameOf(row.userId) } : { hash: hashOf(secret) };
  }

  /** A new secret for one that cannot be read; `create` then takes the alias from the old key at the proxy. */
  private async replace(tx: Tx, row: KeyRow): Promise<void> {
    const { userId } = row;
    if (!this.unreadable.get(userId))
      this.deps.logger.warn(
        { userId },
        'the key of a user cannot be decrypted, and is replaced by a new one: was WEIR_SECRET_KEY changed?',
      );
    this.unreadable.set(userId, true);
    const fresh = this.secrets.make(userId);
    await this.store.replace(tx, row, row.secret, fresh.encrypted, fresh.hint);
  }
}

const metadataOf = (userId: string, planId: string): Record<string, string> => ({
  weir_user_id: userId,
  weir_plan_id: planId,
});
