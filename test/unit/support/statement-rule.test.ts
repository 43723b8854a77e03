import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { namesOrganization } from '../../support/statement-rule';
import { WITHOUT_ORGANIZATION } from '../../support/statements-without-organization';

const SRC = path.join(__dirname, '../../../src');
const source = readdirSync(SRC, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(path.join(SRC, file), 'utf8'))
  .join('\n');

describe('the rule that a statement names the organisation', () => {
  it.each([
    'SELECT * FROM users WHERE id = $1',
    'UPDATE budgets SET name = $1 WHERE id = $2',
    'DELETE FROM messages AS m USING conversations AS c WHERE m.organization_id = $1 AND c.id = m.conversation_id',
    'INSERT INTO projects (id, name) VALUES ($1, $2)',
    'SELECT 1 FROM users AS u JOIN api_tokens AS t ON t.user_id = u.id WHERE u.organization_id = $1',
  ])('is broken by: %s', (sql) => expect(namesOrganization(sql)).toBe(false));

  it.each([
    'SELECT * FROM users WHERE organization_id = $1 AND id = $2',
    'SELECT 1 FROM users AS u JOIN api_tokens AS t ON t.organization_id = u.organization_id AND t.user_id = u.id WHERE u.organization_id = $1',
    'INSERT INTO projects (organization_id, id, name) VALUES ($1, $2, $3)',
    'SELECT * FROM plans',
    'SELECT 1',
  ])('is kept by: %s', (sql) => expect(namesOrganization(sql)).toBe(true));

  it('has few exceptions, each of a statement that there is', () => {
    expect(WITHOUT_ORGANIZATION.length).toBeLessThanOrEqual(25);
    expect(WITHOUT_ORGANIZATION.filter(({ part }) => !source.includes(part))).toEqual([]);
  });
});
