import type { Db, Tx } from '../../database/pool';
import { badInput } from '../../errors';
import { newId } from '../../lib/ids';
import type { Plan } from '../../domain/plan';
import { hashOfSecret, newTokenSecret } from '../auth/credentials';
import { readName } from './people.rule';
import { PeopleStore } from './people.store';
import { TokenStore } from './token.store';
import type { OrganizationRow, UserRow } from '../../domain/principal';

/** The stored plans. */
export interface PlanRows {
  all(tx: Tx): Promise<Plan[]>;
  write(tx: Tx, plan: Plan): Promise<unknown>;
}

/**
 * The first way in: an operator with a token, and the organisation and plan that it needs. Asks for no role: whoever
 * can write to the database may do anything.
 */
export async function createOperator(
  db: Db,
  plans: PlanRows,
  input: { name: string; organization: string | null },
): Promise<{ user: UserRow; organization: OrganizationRow; planName: string; secret: string }> {
  const people = new PeopleStore();
  const name = readName(input.name, 'name');
  return db.transaction(async (tx) => {
    const found = await people.organizationsNamed(tx, input.organization);
    if (found.length > 1)
      throw badInput(
        'organization',
        input.organization ? 'more than one has this name: give its id' : 'there are several: name one',
      );
    const organization = found[0] ?? {
      id: newId('organization'),
      name: readName(input.organization ?? 'Operators', 'organization'),
    };
    if (!found[0]) await people.insertOrganization(tx, organization);
    const known = await plans.all(tx);
    const plan = known[0] ?? emptyPlan();
    if (!known[0]) await plans.write(tx, plan);
    // Without an external id nothing can be in its way.
    const user = (await people.insertUser(tx, {
      id: newId('user'),
      organizationId: organization.id,
      name,
      email: null,
      externalId: null,
      role: 'OPERATOR',
      planId: plan.id,
    }))!;
    const secret = newTokenSecret();
    await new TokenStore().insert(tx, {
      organizationId: organization.id,
      id: newId('apiToken'),
      userId: user.id,
      createdBy: null,
      name: 'first token',
      hash: hashOfSecret(secret),
      hint: secret.slice(-4),
      expiresAt: null,
    });
    return { user, organization, planName: plan.name, secret };
  });
}

/** Without models: the operator's first act is to say who may use what. */
const emptyPlan = (): Plan => ({
  id: newId('plan'),
  name: 'default',
  models: [],
  defaultModel: null,
  limits: {
    requestsPerMinute: null,
    tokensPerMinute: null,
    parallelCalls: null,
    maxOutputTokens: null,
    monthlyBudget: null,
  },
});
