import { serverAudits } from 'graphql-http';
import { startServer, type TestServer } from '../../support/graph-server';

/**
 * Recommendations of the specification that are not followed, each with its reason. All three are about requests that
 * cannot be executed, of clients that accept `application/json` only.
 */
const WARNINGS: Readonly<Record<string, string>> = {
  '572B': 'A document that cannot be parsed has 400 whatever is accepted, so that proxies and logs see the failure.',
  FDE2: 'A document that does not fit the schema has 400 whatever is accepted, for the same reason.',
  '7B9B': 'Variables that do not fit have 400 too; here the document is refused, which does not use its variable.',
};

describe('the HTTP door, audited for "GraphQL over HTTP"', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.close());

  const audits = serverAudits({
    // The port is known when the tests run, their names before.
    url: () => server.url,
    fetchFn: (url: string, init: RequestInit = {}) =>
      fetch(url, { ...init, headers: { ...init.headers, authorization: 'Bearer good' } }),
  });

  it.each(audits.map((audit) => [audit.id, audit.name, audit.fn] as const))('%s: %s', async (id, _name, run) => {
    const result = await run();
    const told = result.status === 'ok' ? 'ok' : `${result.status}: ${result.reason}`;
    // A warning that has gone is taken off the list, so that it cannot come back unseen.
    expect(told).toMatch(id in WARNINGS ? /^warn: / : /^ok$/);
  });

  it('lists only warnings of audits that there are', () => {
    const ids = new Set(audits.map(({ id }) => id));
    expect(Object.keys(WARNINGS).filter((id) => !ids.has(id))).toEqual([]);
  });
});
