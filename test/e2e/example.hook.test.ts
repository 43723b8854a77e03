import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, PIECES, upTo } from '../support/browser';
import { forever, gate } from '../support/provider-script';
import { createFixture, type Fixture } from '../support/stream-fixture';
import { eventually, waitFor } from '../support/wait';

const DEADLINE_MS = 20_000;

/** A page with one component in React's strict mode, which mounts everything twice. */
const hookPage = (token: string): string => `<!doctype html><meta charset="utf-8"><div id="root"></div>
<script src="/hook/umd/react.development.js"></script><script src="/hook/umd/react-dom.development.js"></script>
<script type="importmap">{ "imports": { "react": "data:text/javascript,export const { useCallback, useEffect, useRef, useState } = React" } }</script>
<script type="module">
import { useStreamChat } from '/hook/clients/react.js';
const { createElement, StrictMode, useState } = React;
const connection = { url: location.origin + '/graphql', token: () => ${JSON.stringify(token)} };
function Chat() {
  const { text, ended, ask } = useStreamChat(connection);
  return [createElement('button', { id: 'ask', key: 1, onClick: () => ask({ model: 'test-chat', onDisconnect: location.hash.slice(1) || 'GRACE', messages: [{ role: 'USER', content: 'Go' }] }) }, 'ask'),
    createElement('p', { id: 'text', key: 2 }, text), createElement('p', { id: 'end', key: 3 }, ended?.event?.__typename)];
}
function Page() {
  const [shown, show] = useState(true);
  return [createElement('button', { id: 'mount', key: 1, onClick: () => show(!shown) }, 'mount'), shown && createElement(Chat, { key: 2 })];
}
ReactDOM.createRoot(document.getElementById('root')).render(createElement(StrictMode, null, createElement(Page)));
</script>`;

describe('the React hook of docs/clients.md in a browser', () => {
  let fixture: Fixture;
  let browser: Browser;
  const faults: string[] = [];
  beforeAll(async () => void (browser = await launchBrowser()));
  beforeEach(async () => void (fixture = await createFixture()));
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    await fixture?.close();
    expect(faults.splice(0)).toEqual([]);
  });
  afterAll(() => browser?.close());

  const openHook = async (policy: string): Promise<Page> => {
    const page = await browser.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('pageerror', (error) => faults.push(String(error)));
    await page.route('**/hook/**', async (route) => {
      const name = new URL(route.request().url()).pathname.replace('/hook/', '');
      if (name === '') return route.fulfill({ contentType: 'text/html', body: hookPage(fixture.member.token) });
      const file = name.startsWith('umd/')
        ? path.join(path.dirname(require.resolve(`${name.includes('dom') ? 'react-dom' : 'react'}/package.json`)), name)
        : path.join(__dirname, '..', '..', 'examples', name);
      return route.fulfill({ contentType: 'text/javascript', body: readFileSync(file) });
    });
    await page.goto(new URL(`/hook/#${policy}`, fixture.app.url).toString());
    return page;
  };

  it('goes on when React mounts its component again, and asks once', async () => {
    const rest = gate();
    fixture.provider.script('test-chat', { pieces: PIECES, hold: { after: 100, until: rest } });
    const page = await openHook('');
    const text = (): Promise<string | null> => page.textContent('#text');
    await page.click('#ask');
    await waitFor(async () => (await text()) === upTo(100), { what: 'the first hundred pieces' });
    await page.click('#mount');
    await page.locator('#text').waitFor({ state: 'detached' });
    await page.click('#mount');
    await waitFor(async () => (await text()) === upTo(100), { what: 'the same after it was mounted again' });
    rest.open();
    await waitFor(async () => (await page.textContent('#end')) === 'StreamCompleted', { what: 'the end' });
    expect(await text()).toBe(upTo(400));
    expect(fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').length).toBe(1);
  }, 60_000);

  it('leaves the answer that runs when it is asked again', async () => {
    fixture.provider.script('test-chat', { pieces: PIECES, hold: { after: 100, until: forever } }, { pieces: PIECES });
    const page = await openHook('CANCEL');
    await page.click('#ask');
    await waitFor(async () => (await page.textContent('#text')) === upTo(100), { what: 'the first hundred pieces' });
    await page.click('#ask');
    await eventually((await fixture.provider.completion(0)).closed, 'the end of the first upstream request');
    await waitFor(async () => (await page.textContent('#end')) === 'StreamCompleted', { what: 'the end' });
    expect(await page.textContent('#text')).toBe(upTo(400));
    expect(fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').length).toBe(2);
  }, 60_000);
});
