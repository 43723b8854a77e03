import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import serverless from '@sparticuz/chromium';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { startTestApp, type TestApp } from '../support/app';
import { createTestDatabase, type TestDatabase } from '../support/database';
import { createWorld, type World } from '../support/factories';
import { operation } from '../support/operations';
import { startProvider, type FakeProvider } from '../support/provider';
import { forever, gate } from '../support/provider-script';
import { TcpFront } from '../support/tcp-front';
import { settledRows } from '../support/usage-rows';
import { waitFor, within } from '../support/wait';

const DEADLINE_MS = 20_000;
/** Four hundred pieces: scripts in both directions, characters of several units, and signs that belong to the piece before. */
const PIECES = Array.from({ length: 400 }, (_, index) => ['Wasser ', 'naïve ', 'e\u0301', '東京', ' 👩‍👩‍👧', '\u200d🔬 ', 'שלום ', '🇯🇵', ' <b>&amp;', '\n  '][index % 10] + (index % 7 ? '' : `${index} `));
const upTo = (count: number): string => PIECES.slice(0, count).join('');

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
  return [createElement('button', { id: 'ask', key: 1, onClick: () => ask({ model: 'test-chat', messages: [{ role: 'USER', content: 'Go' }] }) }, 'ask'),
    createElement('p', { id: 'text', key: 2 }, text), createElement('p', { id: 'end', key: 3 }, ended?.event?.__typename)];
}
function Page() {
  const [shown, show] = useState(true);
  return [createElement('button', { id: 'mount', key: 1, onClick: () => show(!shown) }, 'mount'), shown && createElement(Chat, { key: 2 })];
}
ReactDOM.createRoot(document.getElementById('root')).render(createElement(StrictMode, null, createElement(Page)));
</script>`;

describe('the example page in a browser', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-example-'));
  let database: TestDatabase;
  let world: World;
  let provider: FakeProvider;
  let app: TestApp;
  let network: TcpFront;
  let browser: Browser;
  let tab: BrowserContext;
  const faults: string[] = [];
  let connections = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    provider = await startProvider();
    world = await createWorld(database.db, { plan: { defaultModel: 'test-chat' } });
    const demoFile = path.join(folder, 'demo.json');
    writeFileSync(demoFile, JSON.stringify({ tokens: { free: world.analyst.token, pro: world.member.token } }));
    app = await startTestApp({ database, upstream: provider, config: { explorer: true, demoFile } });
    const price = { model: 'test-chat', effectiveFrom: '2026-01-01T00:00:00Z', inputPerMillion: '1', outputPerMillion: '2' };
    expect((await app.graphql(world.operator.token, operation('set-model-price'), { input: price, dryRun: false })).errors).toBeNull();
    network = await TcpFront.start(app.url);
    browser = await chromium.launch({ executablePath: await serverless.executablePath(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'] });
  });
  beforeEach(async () => {
    provider.requests.length = 0;
    tab = await browser.newContext();
  });
  afterEach(() => tab?.close());
  afterAll(async () => {
    await browser?.close();
    await network?.stop();
    await app?.stop();
    await provider?.close();
    await database?.close();
    rmSync(folder, { recursive: true });
  });

  const open = async (context: BrowserContext): Promise<Page> => {
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('websocket', () => (connections += 1));
    page.on('pageerror', (error) => faults.push(String(error)));
    // That a connection could not be had is what these tests are about.
    page.on('console', (message) => void (message.type() === 'error' && !/WebSocket connection to|ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_SOCKET/.test(message.text()) && faults.push(message.text())));
    await page.goto(new URL('/example', network.url).toString());
    await page.locator('#model option').first().waitFor({ state: 'attached' });
    return page;
  };
  const send = async (page: Page, question: string): Promise<void> => {
    await page.fill('#question', question);
    await page.click('#send');
  };
  const answer = (page: Page): Promise<string> => page.locator('article.assistant p').last().evaluate((element) => element.textContent ?? '');
  const reads = (page: Page, text: string, what: string): Promise<true> => waitFor(async () => (await answer(page)) === text, { deadlineMs: DEADLINE_MS, what }) as Promise<true>;
  const state = (page: Page): Promise<string | null> => page.getAttribute('#connection', 'data-state');
  const ended = (page: Page, how: string): Promise<void> => page.locator(`article.assistant[data-ended="${how}"]`).last().waitFor();
  const footer = (page: Page): Promise<string | null> => page.locator('article.assistant footer').last().textContent();
  const completions = (): number => provider.requests.filter((request) => request.path === '/v1/chat/completions').length;

  it('reads one answer over an outage and two reloads, without a missing or doubled letter, and it is one call', async () => {
    const [inOutage, inReload, beforeReload] = [gate(), gate(), gate()];
    provider.script('test-chat', { pieces: PIECES, wire: { writeBytes: 61 }, hold: [{ after: 100, until: inOutage }, { after: 200, until: inReload }, { after: 300, until: beforeReload }] });
    const page = await open(tab);
    await send(page, 'Tell me all');
    await reads(page, upTo(100), 'the first hundred pieces');
    expect(await state(page)).toBe('live');

    network.away = true;
    await waitFor(async () => (await state(page)) !== 'live', { deadlineMs: DEADLINE_MS, what: 'that the page sees the cut' });
    const before = connections;
    inOutage.open();
    await waitFor(() => provider.requests.some(({ piecesSent }) => piecesSent === 200), { deadlineMs: DEADLINE_MS, what: 'that the model speaks on' });
    // It tries, and tries again.
    await waitFor(() => connections >= before + 2, { deadlineMs: DEADLINE_MS, what: 'two attempts to connect' });
    expect(await answer(page)).toBe(upTo(100));
    network.away = false;
    await reads(page, upTo(200), 'what was said during the outage');

    await page.reload();
    await reads(page, upTo(200), 'the same after a reload');
    inReload.open();
    await reads(page, upTo(300), 'the third hundred');
    // The page is gone while the model speaks.
    beforeReload.open();
    await page.reload();
    await reads(page, upTo(400), 'the whole answer');
    await waitFor(async () => (await footer(page))?.startsWith('Complete. '), { deadlineMs: DEADLINE_MS, what: 'its end' });
    expect(await footer(page)).toBe('Complete. test-chat: 11 + 400 tokens, $0.000811');
    expect(await page.locator('article.user p').allTextContents()).toEqual(['Tell me all']);
    expect(await page.locator('article.assistant').count()).toBe(1);
    expect(completions()).toBe(1);
    expect((await settledRows(database.db)).map(({ status, completion_tokens }) => [status, completion_tokens])).toEqual([['COMPLETED', 400]]);
  }, 90_000);

  it('stops the answer and the bill', async () => {
    provider.script('test-chat', { pieces: PIECES, hold: { after: 50, until: forever } });
    const page = await open(tab);
    await send(page, 'Tell me all');
    await reads(page, upTo(50), 'the first fifty pieces');
    await page.click('#stop');
    await within((await provider.completion(0)).closed, DEADLINE_MS, 'the end of the upstream request');
    await ended(page, 'StreamStopped');
    expect(await answer(page)).toBe(upTo(50));
    expect(await footer(page)).toMatch(/^Stopped \(client\)\. test-chat: \d+ \+ \d+ tokens, \$0\.000/);
    expect((await settledRows(database.db)).at(-1)).toMatchObject({ status: 'STOPPED' });
    expect(await page.isDisabled('#stop')).toBe(true);
  }, 60_000);

  it('reads on another device what was asked with CONTINUE on a page that is closed', async () => {
    const [alone, together] = [gate(), gate()];
    provider.script('test-chat', { pieces: PIECES, hold: [{ after: 100, until: alone }, { after: 200, until: together }] });
    const page = await open(tab);
    await page.selectOption('#policy', 'CONTINUE');
    await send(page, 'Go on without me');
    await reads(page, upTo(100), 'the first hundred pieces');
    await page.close();
    alone.open();
    await waitFor(() => provider.requests.some(({ piecesSent }) => piecesSent === 200), { deadlineMs: DEADLINE_MS, what: 'that the model speaks on' });

    const device = await browser.newContext();
    try {
      const other = await open(device);
      await other.getByRole('button', { name: '● Go on without me' }).click();
      await reads(other, upTo(200), 'what was said without anybody');
      together.open();
      await ended(other, 'StreamCompleted');
      expect(await answer(other)).toBe(upTo(400));
      expect(await other.locator('article.user p').allTextContents()).toEqual(['Go on without me']);
      expect(completions()).toBe(1);
      expect((await settledRows(database.db)).at(-1)).toMatchObject({ status: 'COMPLETED', completion_tokens: 400 });
    } finally {
      await device.close();
    }
  }, 60_000);

  it('the hook of docs/clients.md goes on when React mounts its component again, and asks once', async () => {
    const rest = gate();
    provider.script('test-chat', { pieces: PIECES, hold: { after: 100, until: rest } });
    const page = await tab.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('pageerror', (error) => faults.push(String(error)));
    await page.route('**/hook/**', async (route) => {
      const name = new URL(route.request().url()).pathname.replace('/hook/', '');
      if (name === '') return route.fulfill({ contentType: 'text/html', body: hookPage(world.member.token) });
      const file = name.startsWith('umd/') ? path.join(path.dirname(require.resolve(`${name.includes('dom') ? 'react-dom' : 'react'}/package.json`)), name) : path.join(__dirname, '..', '..', 'examples', name);
      return route.fulfill({ contentType: 'text/javascript', body: readFileSync(file) });
    });
    await page.goto(new URL('/hook/', network.url).toString());
    const text = (): Promise<string | null> => page.textContent('#text');
    await page.click('#ask');
    await waitFor(async () => (await text()) === upTo(100), { deadlineMs: DEADLINE_MS, what: 'the first hundred pieces' });
    await page.click('#mount');
    await page.locator('#text').waitFor({ state: 'detached' });
    await page.click('#mount');
    await waitFor(async () => (await text()) === upTo(100), { deadlineMs: DEADLINE_MS, what: 'the same after it was mounted again' });
    rest.open();
    await waitFor(async () => (await page.textContent('#end')) === 'StreamCompleted', { deadlineMs: DEADLINE_MS, what: 'the end' });
    expect(await text()).toBe(upTo(400));
    expect(completions()).toBe(1);
  }, 60_000);

  it('nothing went wrong on the page', () => expect(faults).toEqual([]));
});
