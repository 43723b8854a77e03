import { announceAccess } from '../../database/access-notice';
import type { Db, Tx } from '../../database/pool';
import { badInput, forbidden, notFound } from '../../errors';
import { logAct, type AdministrativeAct } from '../../lib/audit';
import { newId } from '../../lib/ids';
import type { Logger } from '../../lib/logger';
import { decodeCursor, pageOf, type Page, type PageArgs } from '../../lib/page';
import type { AuthService } from '../auth/auth.service';
import { erasedSubject } from '../auth/credentials';
import {
  editable,
  isPossibleId,
  readEmail,
  readExternalId,
  readName,
  readSearch,
  requireAdmin,
  requireGrantable,
  requireOperator,
  requireSomebodyElse,
  seesOrganization,
  seesUser,
} from './people.rule';
import { type After, PeopleStore } from './people.store';
import { type Scope, scopeOf } from './scope';
import { TokenService } from './token.service';
import type {
  ApiTokenRow,
  OrganizationRow,
  ProjectRow,
  Role,
  UserRef,
  UserRow,
  Viewer,
  NewApiToken,
  NewUser,
} from '../../domain/principal';
import type { Plans } from '../../domain/plan';

export interface PeopleServiceDeps {
  db: Db;
  plans: Pick<Plans, 'byId'>;
  /** Told when a user's plan, block or existence has changed: the key at the proxy has to follow. */
  keys: { follow(user: { organizationId: string; userId: string }): Promise<unknown> };
  auth: Pick<AuthService, 'forgetUser'>;
  /** The user was blocked or deleted: what runs for it has to end now. */
  onAccessEnded(userId: string): void;
  logger?: Logger;
}

/** Organisations, projects, users and their tokens. What may be done to whom is in people.rule.ts. */
export class PeopleService {
  private readonly store = new PeopleStore();
  private readonly tokens: TokenService;

  constructor(private readonly deps: PeopleServiceDeps) {
    this.tokens = new TokenService({ db: deps.db, auth: deps.auth, people: this.store, logger: deps.logger });
  }

  async organizationsById(ids: readonly string[]): Promise<(OrganizationRow | null)[]> {
    return inOrder(ids, (possible) => this.store.organizations(this.deps.db, possible));
  }

  /** Deleted users come as "deleted user": the figures still point to them. */
  async usersById(ids: readonly string[], scope: Scope): Promise<(UserRow | null)[]> {
    return inOrder(ids, (possible) => this.store.users(this.deps.db, scope, possible));
  }

  /** Of the organisation; null: of any. */
  async projectsById(ids: readonly string[], scope: Scope): Promise<(ProjectRow | null)[]> {
    return inOrder(ids, (possible) => this.store.projects(this.deps.db, scope, possible));
  }

  /**
   * As `node(id)` and references by id see them: null for what the viewer may not see. Members see themselves; others
   * their organisation; operators all.
   */
  async visibleUser(viewer: Viewer, id: string): Promise<UserRow | null> {
    const user = isPossibleId(id) ? (await this.store.users(this.deps.db, scopeOf(viewer), [id])).get(id) : undefined;
    return user && !user.deleted && seesUser(viewer, user) ? user : null;
  }

  async visibleProject(viewer: Viewer, id: string): Promise<ProjectRow | null> {
    const [project] = await this.projectsById([id], scopeOf(viewer));
    return project && seesOrganization(viewer, project.organizationId) ? project : null;
  }

  async visibleOrganization(viewer: Viewer, id: string): Promise<OrganizationRow | null> {
    return seesOrganization(viewer, id) ? ((await this.organizationsById([id]))[0] ?? null) : null;
  }

  visibleApiToken(viewer: Viewer, id: string): Promise<ApiTokenRow | null> {
    return this.tokens.visible(viewer, id);
  }

  async createOrganization(viewer: Viewer, name: string): Promise<OrganizationRow> {
    requireOperator(viewer);
    const row = { id: newId('organization'), name: readName(name, 'name') };
    await this.store.insertOrganization(this.deps.db, row);
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action: 'organization.create',
      target: { id: row.id, organizationId: row.id },
      before: null,
      after: { name: row.name },
    });
    return row;
  }

  async createProject(viewer: Viewer, name: string): Promise<ProjectRow> {
    requireAdmin(viewer);
    const row = { id: newId('project'), organizationId: viewer.organizationId, name: readName(name, 'name') };
    await this.store.insertProject(this.deps.db, row);
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action: 'project.create',
      target: { id: row.id, organizationId: row.organizationId },
      before: null,
      after: { name: row.name },
    });
    return row;
  }

  /** Oldest first: all of the organisation; for operators those of all organisations. */
  async projects(viewer: Viewer, page: PageArgs): Promise<Page<ProjectRow>> {
    const rows = await this.store.listProjects(this.deps.db, scopeOf(viewer), readCursor(page.after), page.first + 1);
    return pageOf(
      rows,
      page.first,
      Boolean(page.after),
      (row) => [row.micros, row.id],
      ({ micros: _, ...row }) => row,
    );
  }

  /** Oldest first. Throws FORBIDDEN, BAD_USER_INPUT. */
  async users(viewer: Viewer, args: PageArgs & { search?: string | null }): Promise<Page<UserRow>> {
    requireAdmin(viewer);
    const rows = await this.store.listUsers(
      this.deps.db,
      scopeOf(viewer),
      readSearch(args.search, 'search'),
      readCursor(args.after),
      args.first + 1,
    );
    return pageOf(
      rows,
      args.first,
      Boolean(args.after),
      (row) => [row.micros, row.id],
      ({ micros: _, ...row }) => row,
    );
  }

  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  async createUser(viewer: Viewer, input: NewUser): Promise<UserRow> {
    requireAdmin(viewer);
    const organizationId = input.organizationId ?? viewer.organizationId;
    // Without a look whether it is there: an administrator learns nothing about other organisations.
    if (!seesOrganization(viewer, organizationId)) throw forbidden('OPERATOR');
    requireGrantable(viewer, input.role);
    const fields = {
      name: readName(input.name, 'name'),
      email: readEmail(input.email, 'email'),
      externalId: readExternalId(input.externalId, 'externalId'),
    };
    if (!(await this.organizationsById([organizationId]))[0]) throw notFound('organizationId');
    if (!(await this.deps.plans.byId(input.planId))) throw notFound('planId');
    const user = await this.store.insertUser(this.deps.db, {
      id: newId('user'),
      organizationId,
      ...fields,
      role: input.role,
      planId: input.planId,
    });
    if (!user) throw badInput('externalId', 'another user of the organisation has it');
    this.logUser(viewer, 'user.create', null, user);
    return user;
  }

  /** Throws FORBIDDEN, NOT_FOUND. */
  async setUserPlan(viewer: Viewer, userId: string, planId: string): Promise<UserRow> {
    requireAdmin(viewer);
    if (!(await this.deps.plans.byId(planId))) throw notFound('planId');
    const user = await this.edit(viewer, userId, 'userId', 'user.set_plan', async (before) => ({ ...before, planId }));
    await this.deps.keys.follow({ organizationId: user.organizationId, userId });
    return user;
  }

  /** Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT (the last operator). */
  async setUserRole(viewer: Viewer, userId: string, role: Role): Promise<UserRow> {
    requireAdmin(viewer);
    requireGrantable(viewer, role);
    return this.edit(viewer, userId, 'userId', 'user.set_role', async (before, tx) => {
      if (role !== 'OPERATOR') await this.keepAnOperator(tx, before, 'userId');
      return { ...before, role };
    });
  }

  /**
   * The database first, so that nothing new begins; then what runs; the proxy last, as it may be away. Throws
   * FORBIDDEN, NOT_FOUND, BAD_USER_INPUT.
   */
  async setUserBlocked(viewer: Viewer, userId: string, blocked: boolean): Promise<UserRow> {
    requireAdmin(viewer);
    if (blocked) requireSomebodyElse(viewer, userId, 'userId', 'block');
    const user = await this.edit(
      viewer,
      userId,
      'userId',
      blocked ? 'user.block' : 'user.unblock',
      async (before, tx) => {
        if (blocked) await this.keepAnOperator(tx, before, 'userId');
        return { ...before, blocked };
      },
    );
    if (blocked) this.deps.onAccessEnded(userId);
    await this.deps.keys.follow({ organizationId: user.organizationId, userId });
    return user;
  }

  /** Erases the person, keeps the figures. Throws FORBIDDEN, NOT_FOUND, BAD_USER_INPUT. */
  async deleteUser(viewer: Viewer, id: string): Promise<string> {
    requireAdmin(viewer);
    requireSomebodyElse(viewer, id, 'id', 'delete');
    const erased = await this.deps.db.transaction(async (tx) => {
      const user = editable(viewer, await this.lock(tx, viewer, id), 'id');
      await this.keepAnOperator(tx, user, 'id');
      await this.store.eraseUser(
        tx,
        user,
        user.externalId === null ? null : erasedSubject(user.organizationId, user.externalId),
      );
      await announceAccess(tx, id);
      return user;
    });
    this.deps.auth.forgetUser(id);
    this.deps.onAccessEnded(id);
    this.logUser(viewer, 'user.delete', erased, null);
    const { organizationId } = erased;
    // What a call that was just running has begun since.
    await this.deps.db.transaction((tx) => this.store.eraseConversations(tx, organizationId, id));
    // The key's row stays until the proxy has deleted the key: nothing is lost when it is away.
    await this.deps.keys.follow({ organizationId, userId: id });
    return id;
  }

  createApiToken(viewer: Viewer, input: NewApiToken): Promise<{ token: ApiTokenRow; secret: string }> {
    return this.tokens.create(viewer, input);
  }

  revokeApiToken(viewer: Viewer, id: string): Promise<ApiTokenRow> {
    return this.tokens.revoke(viewer, id);
  }

  /** Tokens of each user, newest first; empty for users whose tokens the viewer may not see. */
  apiTokensOf(viewer: Viewer, users: readonly UserRef[]): Promise<ApiTokenRow[][]> {
    return this.tokens.ofUsers(viewer, users);
  }

  private async lock(tx: Tx, viewer: Viewer, id: string): Promise<UserRow | null> {
    return isPossibleId(id) ? this.store.lockUser(tx, scopeOf(viewer), id) : null;
  }

  private async edit(
    viewer: Viewer,
    id: string,
    argument: string,
    action: AdministrativeAct['action'],
    change: (before: UserRow, tx: Tx) => Promise<UserRow>,
  ): Promise<UserRow> {
    const { before, after } = await this.deps.db.transaction(async (tx) => {
      const found = editable(viewer, await this.lock(tx, viewer, id), argument);
      const changed = await this.store.updateUser(tx, found, await change(found, tx));
      await announceAccess(tx, id);
      return { before: found, after: changed };
    });
    this.deps.auth.forgetUser(id);
    this.logUser(viewer, action, before, after);
    return after;
  }

  private logUser(
    viewer: Viewer,
    action: AdministrativeAct['action'],
    before: UserRow | null,
    after: UserRow | null,
  ): void {
    const { id, organizationId } = (after ?? before)!;
    const rights = (user: UserRow | null): object | null =>
      user && { role: user.role, planId: user.planId, blocked: user.blocked };
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action,
      target: { id, organizationId },
      before: rights(before),
      after: rights(after),
    });
  }

  /** Without one nobody could run the installation any more. */
  private async keepAnOperator(tx: Tx, user: UserRow, argument: string): Promise<void> {
    if (user.role === 'OPERATOR' && (await this.store.otherOperators(tx, user.id)) === 0)
      throw badInput(argument, 'this is the last operator');
  }
}

function readCursor(cursor: string | null | undefined): After | null {
  if (cursor == null) return null;
  const [micros, id] = decodeCursor(cursor, 2) ?? [];
  if (!Number.isSafeInteger(micros) || typeof id !== 'string') throw badInput('after', 'not a cursor of this list');
  return { micros: micros as number, id };
}

async function inOrder<T>(
  ids: readonly string[],
  find: (ids: string[]) => Promise<Map<string, T>>,
): Promise<(T | null)[]> {
  const found = await find([...new Set(ids.filter(isPossibleId))]);
  return ids.map((id) => found.get(id) ?? null);
}
