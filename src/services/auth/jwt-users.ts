import type { Db } from '../../database/pool';
import { AppError } from '../../errors';
import type { Logger } from '../../lib/logger';
import type { Plan, Plans } from '../../domain/plan';
import type { AuthStore, KnownUser } from './auth.store';
import { erasedSubject } from './credentials';
import type { AuthConfig, JwtIdentity } from './jwt';

/**
 * The user behind a JWT: matched by the subject within an organisation, made on first sight, kept up to date with what
 * the token says.
 */
export class JwtUsers {
  constructor(
    private readonly deps: {
      db: Db;
      config: AuthConfig;
      logger: Logger;
      plans: Pick<Plans, 'list' | 'byId'>;
      store: AuthStore;
    },
  ) {}

  /** Throws UNAUTHENTICATED. */
  async find(identity: JwtIdentity): Promise<KnownUser> {
    const { db, store } = this.deps;
    const organizationId = await this.organizationOf(identity);
    let user = await store.userByExternalId(db, organizationId, identity.subject);
    if (!user) {
      await this.create(organizationId, identity);
      user = await store.userByExternalId(db, organizationId, identity.subject);
    }
    if (!user || user.blocked) throw new AppError('UNAUTHENTICATED');
    const current = {
      name: identity.name ?? user.name,
      email: identity.email ?? user.email,
      role: identity.role ?? user.role,
    };
    if (current.name !== user.name || current.email !== user.email || current.role !== user.role) {
      await store.updateUser(db, user, current);
      user = { ...user, ...current };
    }
    return user;
  }

  private async create(organizationId: string, identity: JwtIdentity): Promise<void> {
    const { db, store } = this.deps;
    // Somebody who was deleted comes back by logging in again, not with a token from before.
    if (
      await store.erasedSince(db, organizationId, erasedSubject(organizationId, identity.subject), identity.issuedAtMs)
    ) {
      throw new AppError('UNAUTHENTICATED', { internal: 'JWT: issued before the user was deleted' });
    }
    const plan = await this.defaultPlan();
    await store.insertUser(db, {
      organizationId,
      externalId: identity.subject,
      name: identity.name ?? identity.subject.slice(0, 200).toWellFormed(),
      email: identity.email,
      role: identity.role ?? 'MEMBER',
      planId: plan.id,
    });
  }

  private async organizationOf(identity: JwtIdentity): Promise<string> {
    const { config, db, store } = this.deps;
    const named = identity.organization ?? config.defaultOrganization;
    // Where tokens name their organisation, one that names none belongs nowhere, unless there is a default.
    if (named === null && config.organizationClaim)
      throw new AppError('UNAUTHENTICATED', { internal: `JWT: the claim ${config.organizationClaim} is missing` });
    const id = await store.organizationId(db, named);
    if (id === null)
      throw this.misconfigured(
        named === null
          ? 'AUTH_DEFAULT_ORGANIZATION is not set, and there is not exactly one organisation'
          : `there is no single organisation ${named}`,
      );
    return id;
  }

  private async defaultPlan(): Promise<Plan> {
    const { config, plans } = this.deps;
    const all = await plans.list();
    const plan =
      config.defaultPlan === null
        ? all.length === 1
          ? all[0]
          : undefined
        : all.find(({ id, name }) => id === config.defaultPlan || name === config.defaultPlan);
    if (!plan)
      throw this.misconfigured(
        config.defaultPlan === null
          ? 'AUTH_DEFAULT_PLAN is not set, and there is not exactly one plan'
          : `AUTH_DEFAULT_PLAN: there is no plan ${config.defaultPlan}`,
      );
    return plan;
  }

  private misconfigured(what: string): AppError {
    this.deps.logger.warn({}, `a JWT with a good signature was refused: ${what}`);
    return new AppError('UNAUTHENTICATED', { internal: `JWT: ${what}` });
  }
}
