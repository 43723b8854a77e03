import { Client } from 'pg';
import { newId } from '../src/lib/ids';
import { hashOfSecret } from '../src/services/auth/credentials';
import type { PlanContent } from './seed-plans';

export interface SeedPlanRow extends PlanContent {
  name: string;
  maxOutputTokens: number | null;
}
export interface SeedUserRow {
  organizationId: string;
  planId: string;
  name: string;
  email: string;
  /** How a later start finds the user again. */
  externalId: string;
  role: string;
}

/** The few statements of the demonstration seed, in one transaction. */
export class SeedStore {
  private constructor(private readonly client: Client) {}

  static async transaction<T>(databaseUrl: string, work: (store: SeedStore) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      await client.query('BEGIN');
      const result = await work(new SeedStore(client));
      await client.query('COMMIT');
      return result;
    } finally {
      await client.end();
    }
  }

  async isEmpty(): Promise<boolean> {
    const { rows } = await this.client.query(
      'SELECT EXISTS (SELECT 1 FROM organizations) OR EXISTS (SELECT 1 FROM plans) AS used',
    );
    return !(rows[0] as { used: boolean }).used;
  }

  async insertOrganization(name: string): Promise<string> {
    const id = newId('organization');
    await this.client.query('INSERT INTO organizations (id, name) VALUES ($1, $2)', [id, name]);
    return id;
  }

  async insertPlan(plan: SeedPlanRow): Promise<string> {
    const id = newId('plan');
    await this.client.query('SELECT weir.put_plan($1, $2, $3, $4, NULL, NULL, NULL, $5, $6)', [
      id,
      plan.name,
      plan.models,
      plan.defaultModel,
      plan.maxOutputTokens,
      plan.monthlyBudget,
    ]);
    return id;
  }

  /** Changes a plan only where it still is what `before` says: what a person edited stays. */
  async refreshPlan(id: string, before: PlanContent, after: PlanContent): Promise<boolean> {
    const { rowCount } = await this.client.query(
      `SELECT weir.put_plan(id, name, $4, $5, requests_per_minute, tokens_per_minute, parallel_calls, max_output_tokens,
         CASE WHEN monthly_budget IS NOT DISTINCT FROM $6::numeric THEN $7::numeric ELSE monthly_budget END)
       FROM plans WHERE id = $1 AND models = $2 AND default_model IS NOT DISTINCT FROM $3`,
      // What an earlier version remembered has no budget.
      [
        id,
        before.models,
        before.defaultModel,
        after.models,
        after.defaultModel,
        before.monthlyBudget ?? null,
        after.monthlyBudget,
      ],
    );
    return rowCount === 1;
  }

  async insertUser(user: SeedUserRow): Promise<void> {
    await this.client.query('SELECT weir.put_user($1, $2, $3, $4, $5, $6, $7)', [
      user.organizationId,
      newId('user'),
      user.name,
      user.email,
      user.externalId,
      user.role,
      user.planId,
    ]);
  }

  /** Of any organisation, since none is remembered from start to start. Null: there is none any more. */
  async findUser(externalId: string): Promise<{ organizationId: string; id: string } | null> {
    const { rows } = await this.client.query(
      `SELECT u.organization_id AS "organizationId", u.id
       FROM organizations AS o JOIN users AS u ON u.organization_id = o.id AND u.external_id = $1
       WHERE u.deleted_at IS NULL ORDER BY u.created_at LIMIT 1`,
      [externalId],
    );
    return (rows[0] as { organizationId: string; id: string } | undefined) ?? null;
  }

  /** A token that is there already, revoked ones included, is left as it is. */
  async ensureToken(user: { organizationId: string; id: string }, secret: string): Promise<void> {
    await this.client.query('SELECT weir.put_token($1, $2, $3, $4, $5, $6, NULL, NULL)', [
      user.organizationId,
      newId('apiToken'),
      user.id,
      'demonstration',
      hashOfSecret(secret),
      secret.slice(-4),
    ]);
  }
}
