import { canonicalDecimal } from '../../lib/decimal';
import { violatedConstraint } from '../../database/postgres-errors';
import { notifyAlerts } from '../../database/alert-notice';
import type { Tx } from '../../database/pool';
import type { Plan } from '../../domain/plan';

interface Row {
  id: string;
  name: string;
  models: string[];
  default_model: string | null;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  parallel_calls: number | null;
  max_output_tokens: number | null;
  monthly_budget: string | null;
}
const COLUMNS =
  'id, name, models, default_model, requests_per_minute, tokens_per_minute, parallel_calls, max_output_tokens, monthly_budget';

export class PlanStore {
  async all(tx: Tx): Promise<Plan[]> {
    return (await tx.query<Row>(`SELECT ${COLUMNS} FROM plans ORDER BY name, id`)).map(toPlan);
  }

  /** The plan, kept from other edits until the transaction ends. */
  async lock(tx: Tx, id: string): Promise<Plan | null> {
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM plans WHERE id = $1 FOR UPDATE`, [id]);
    return row ? toPlan(row) : null;
  }

  /** Writes the plan, and what its monthly budget means for its users; false: another plan has this name. */
  async write(tx: Tx, plan: Plan): Promise<boolean> {
    const { limits } = plan;
    const values = [
      plan.id,
      plan.name,
      plan.models,
      plan.defaultModel,
      limits.requestsPerMinute,
      limits.tokensPerMinute,
      limits.parallelCalls,
      limits.maxOutputTokens,
      limits.monthlyBudget,
    ];
    try {
      await tx.query(`SELECT ${notifyAlerts('weir.put_plan($1, $2, $3, $4, $5, $6, $7, $8, $9)')}`, values);
      return true;
    } catch (error) {
      if (violatedConstraint(error) === 'plans_name_key') return false;
      throw error;
    }
  }
}

const toPlan = (row: Row): Plan => ({
  id: row.id,
  name: row.name,
  models: row.models,
  defaultModel: row.default_model,
  limits: {
    requestsPerMinute: row.requests_per_minute,
    tokensPerMinute: row.tokens_per_minute,
    parallelCalls: row.parallel_calls,
    maxOutputTokens: row.max_output_tokens,
    monthlyBudget: row.monthly_budget === null ? null : canonicalDecimal(row.monthly_budget),
  },
});
