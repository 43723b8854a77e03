/** Tables whose rows belong to an organisation. */
export const TENANT_TABLES = [
  'users', 'projects', 'api_tokens', 'virtual_keys', 'conversations', 'messages', 'budgets', 'budget_periods', 'budget_alerts', 'calls_in_flight',
  'idempotency_keys', 'call_checkpoints', 'usage_batches', 'llm_usage', 'usage_daily', 'usage_daily_by_project', 'usage_daily_by_user', 'usage_quarter_hourly',
];
const MENTION = new RegExp(String.raw`\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+(?:ONLY\s+)?(?:public\.)?(${TENANT_TABLES.join('|')})\b(?:\s+(?:AS\s+)?(?!(?:WHERE|SET|ON|JOIN|LEFT|CROSS|ORDER|GROUP|LIMIT|USING|SELECT|VALUES|RETURNING|FOR|UNION|HAVING|OFFSET|DO|NOT|AND|OR)\b)([a-z_]+)\b)?`, 'gi');

/**
 * Whether each mention of such a table comes with its `organization_id`: qualified by its alias, or without one anywhere in the statement. This reads
 * text and no plan: it finds a statement in which the organisation was forgotten, and not one that compares it with the wrong thing.
 */
export function namesOrganization(sql: string): boolean {
  const bare = /(?<![.\w])organization_id\b/.test(sql);
  for (const [, table, alias] of sql.matchAll(MENTION)) {
    const isQualified = [table, alias].some((name) => name && new RegExp(`(?<!\\w)${name}\\.organization_id\\b`).test(sql));
    if (!isQualified && !bare) return false;
  }
  return true;
}
