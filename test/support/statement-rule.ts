/** Tables whose rows are of one organisation each. A further one is a decision: it belongs into this list, too. */
export const TENANT_TABLES = [
  'api_tokens',
  'budget_alerts',
  'budget_periods',
  'budgets',
  'call_checkpoints',
  'calls_in_flight',
  'conversations',
  'idempotency_keys',
  'llm_usage',
  'messages',
  'projects',
  'usage_batches',
  'usage_daily',
  'usage_daily_by_project',
  'usage_daily_by_user',
  'usage_quarter_hourly',
  'users',
  'virtual_keys',
];
const MENTION = new RegExp(
  String.raw`\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+(?:ONLY\s+)?(?:public\.)?(${TENANT_TABLES.join('|')})\b(?:\s+(?:AS\s+)?(?!(?:WHERE|SET|ON|JOIN|LEFT|CROSS|ORDER|GROUP|LIMIT|USING|SELECT|VALUES|RETURNING|FOR|UNION|HAVING|OFFSET|DO|NOT|AND|OR)\b)([a-z_]+)\b)?`,
  'gi',
);

/**
 * Whether each mention of such a table comes with its `organization_id`: qualified by its alias, or without one
 * anywhere in the statement. This reads text and no plan: it finds a statement in which the organisation was forgotten,
 * and not one that compares it with the wrong thing.
 */
export function namesOrganization(sql: string): boolean {
  const bare = /(?<![.\w])organization_id\b/.test(sql);
  for (const [, table, alias] of sql.matchAll(MENTION)) {
    const isQualified = [table, alias].some(
      (name) => name && new RegExp(`(?<!\\w)${name}\\.organization_id\\b`).test(sql),
    );
    if (!isQualified && !bare) return false;
  }
  return true;
}
