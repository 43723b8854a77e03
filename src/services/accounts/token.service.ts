import { announceAccess } from '../../database/access-notice';
import type { Db } from '../../database/pool';
import { badInput, notFound } from '../../errors';
import { logAct } from '../../lib/audit';
import { newId } from '../../lib/ids';
import type { Logger } from '../../lib/logger';
import { hashOfSecret, newTokenSecret } from '../auth/credentials';
import { editable, isPossibleId, readName, requireAdmin, seesTokensOf } from './people.rule';
import type { PeopleStore } from './people.store';
import { scopeOf } from './scope';
import { TokenStore } from './token.store';
import type { ApiTokenRow, UserRef, Viewer, NewApiToken } from '../../domain/principal';

/** Tokens that work, per user: they come in one list, and each is a way in. */
const MAX_TOKENS = 100;

/** API tokens: made and revoked by their user, by an administrator of the organisation, by operators. */
export class TokenService {
  private readonly store = new TokenStore();

  constructor(
    private readonly deps: { db: Db; people: PeopleStore; auth: { forgetUser(userId: string): void }; logger?: Logger },
  ) {}

  async create(viewer: Viewer, input: NewApiToken): Promise<{ token: ApiTokenRow; secret: string }> {
    const userId = input.userId ?? viewer.userId;
    if (userId !== viewer.userId) requireAdmin(viewer);
    const name = readName(input.name, 'name');
    const expiresAt = input.expiresAt ?? null;
    if (expiresAt && !(expiresAt.getTime() > Date.now())) throw badInput('expiresAt', 'a time in the future');
    const scope = userId === viewer.userId ? viewer.organizationId : scopeOf(viewer);
    const secret = newTokenSecret();
    const token = await this.deps.db.transaction(async (tx) => {
      const user = isPossibleId(userId) ? await this.deps.people.lockUser(tx, scope, userId) : null;
      // A token acts as its user: making one for an operator would make an administrator an operator.
      if (userId !== viewer.userId) editable(viewer, user, 'userId');
      else if (!user) throw notFound('userId');
      if ((await this.store.countGood(tx, user!)) >= MAX_TOKENS)
        throw badInput('', `a user has at most ${MAX_TOKENS} tokens: revoke one first`);
      return this.store.insert(tx, {
        organizationId: user!.organizationId,
        id: newId('apiToken'),
        userId,
        createdBy: viewer.userId,
        name,
        hash: hashOfSecret(secret),
        hint: secret.slice(-4),
        expiresAt,
      });
    });
    this.log(viewer, 'token.create', null, token);
    return { token, secret };
  }

  async revoke(viewer: Viewer, id: string): Promise<ApiTokenRow> {
    const token = await this.visible(viewer, id);
    if (!token) throw notFound('id');
    if (token.userId !== viewer.userId) {
      const users = await this.deps.people.users(this.deps.db, token.organizationId, [token.userId]);
      editable(viewer, users.get(token.userId) ?? null, 'id');
    }
    const revoked = await this.deps.db.transaction(async (tx) => {
      await announceAccess(tx, token.userId);
      return this.store.revoke(tx, token);
    });
    this.deps.auth.forgetUser(token.userId);
    this.log(viewer, 'token.revoke', token, revoked);
    return revoked;
  }

  private log(
    viewer: Viewer,
    action: 'token.create' | 'token.revoke',
    before: ApiTokenRow | null,
    after: ApiTokenRow,
  ): void {
    const shown = (token: ApiTokenRow | null): object | null =>
      token && { userId: token.userId, expiresAt: token.expiresAt, revokedAt: token.revokedAt };
    logAct(this.deps.logger, {
      actor: viewer.userId,
      action,
      target: { id: after.id, organizationId: after.organizationId },
      before: shown(before),
      after: shown(after),
    });
  }

  async visible(viewer: Viewer, id: string): Promise<ApiTokenRow | null> {
    const token = isPossibleId(id) ? await this.store.find(this.deps.db, scopeOf(viewer), id) : null;
    return token && seesTokensOf(viewer, { id: token.userId, organizationId: token.organizationId }) ? token : null;
  }

  async ofUsers(viewer: Viewer, users: readonly UserRef[]): Promise<ApiTokenRow[][]> {
    const shown = users.filter((user) => seesTokensOf(viewer, user));
    const tokens = await this.store.ofUsers(this.deps.db, shown, MAX_TOKENS);
    return users.map(({ id }) => tokens.get(id) ?? []);
  }
}
