import { Client, Pool } from 'pg';
import { EntityManager } from 'typeorm';
import { namesOrganization } from './statement-rule';
import { WITHOUT_ORGANIZATION } from './statements-without-organization';

// Every statement that the product sends in an integration test is looked at: one on a table of organisations names the
// organisation, or is listed with its reason. Only the sender's own frame tells the product's statements from the
// test's: it is asked once for each text.
const seen = new Set<string>();
const found = new Map<string, string>();

function record(text: unknown): void {
  const sql = typeof text === 'string' ? text : (text as { text?: unknown } | null)?.text;
  if (typeof sql !== 'string' || seen.has(sql)) return;
  const sender = senderOf(new Error().stack ?? '');
  // A test may have sent the same text before.
  if (!sender) return;
  seen.add(sql);
  if (namesOrganization(sql) || WITHOUT_ORGANIZATION.some(({ part }) => sql.includes(part))) return;
  found.set(sql, sender);
}

/** The first frame outside of what sends statements for others; null: it is a test, or nobody knows. */
function senderOf(stack: string): string | null {
  for (const line of stack.split('\n').slice(2)) {
    if (/^\s+at async /.test(line)) return null;
    if (
      /record-statements|node_modules|node:internal|src\/entities\/data-source|entities\/bounded-client|entities\/listening-connection/.test(
        line,
      )
    )
      continue;
    return /\/src\/(?:services|resolvers|entities|server|launch)\//.test(line) ? line.trim() : null;
  }
  return null;
}

for (const target of [Pool.prototype, Client.prototype, EntityManager.prototype] as {
  query(...values: unknown[]): unknown;
}[]) {
  const { query } = target;
  target.query = function recorded(this: unknown, ...values: unknown[]): unknown {
    record(values[0]);
    return query.apply(this, values);
  };
}

afterAll(() => {
  const statements = [...found].map(([sql, sender]) => `${sender}\n${sql}`);
  found.clear();
  if (statements.length > 0) {
    throw new Error(
      `These statements are on a table of organisations and do not name the organisation (test/support/statement-rule.ts):\n${statements.join('\n\n')}`,
    );
  }
});
