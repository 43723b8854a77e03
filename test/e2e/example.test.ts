import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { startTestApp, type TestApp } from '../support/app';
import { launchBrowser, PIECES, upTo } from '../support/browser';
import { createTestDatabase, type TestDatabase } from '../support/database';
import { createWorld, type World } from '../support/factories';
import { operation } from '../support/operations';
import { startProvider, type FakeProvider } from '../support/provider';
import { forever, gate } from '../support/provider-script';
import { TcpFront } from '../support/tcp-front';
import { settledRows } from '../support/usage-rows';
import { eventually, waitFor } from '../support/wait';

const DEADLINE_MS = 20_000;

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
    const price = {
      model: 'test-chat',
      effectiveFrom: '2026-01-01T00:00:00Z',
      inputPerMillion: '1',
      outputPerMillion: '2',
    };
    expect(
      (await app.graphql(world.operator.token, operation('set-model-price'), { input: price, dryRun: false })).errors,
    ).toBeNull();
    network = await TcpFront.start(app.url);
    browser = await launchBrowser();
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
    page.on(
      'console',
      (message) =>
        void (
          message.type() === 'error' &&
          !/WebSocket connection to|ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_SOCKET/.test(message.text()) &&
          faults.push(message.text())
        ),
    );
    await page.goto(new URL('/example', network.url).toString());
    await page.locator('#model option').first().waitFor({ state: 'attached' });
    return page;
  };
  const send = async (page: Page, question: string): Promise<void> => {
    await page.fill('#question', question);
    await page.click('#send');
  };
  const answer = (page: Page): Promise<string> =>
    page
      .locator('article.assistant p')
      .last()
      .evaluate((element) => element.textContent ?? '');
  const reads = (page: Page, text: string, what: string): Promise<true> =>
    waitFor(async () => (await answer(page)) === text, { what }) as Promise<true>;
  const state = (page: Page): Promise<string | null> => page.getAttribute('#connection', 'data-state');
  const ended = (page: Page, how: string): Promise<void> =>
    page.locator(`article.assistant[data-ended="${how}"]`).last().waitFor();
  const footer = (page: Page): Promise<string | null> => page.locator('article.assistant footer').last().textContent();
  const completions = (): number =>
    provider.requests.filter((request) => request.path === '/v1/chat/completions').length;

  it('reads one answer over an outage and two reloads, without a missing or doubled letter, and it is one call', async () => {
    const [inOutage, inReload, beforeReload] = [gate(), gate(), gate()];
    provider.script('test-chat', {
      pieces: PIECES,
      wire: { writeBytes: 61 },
      hold: [
        { after: 100, until: inOutage },
        { after: 200, until: inReload },
        { after: 300, until: beforeReload },
      ],
    });
    const page = await open(tab);
    await send(page, 'Tell me all');
    await reads(page, upTo(100), 'the first hundred pieces');
    expect(await state(page)).toBe('live');

    network.away = true;
    await waitFor(async () => (await state(page)) !== 'live', { what: 'that the page sees the cut' });
    const before = connections;
    inOutage.open();
    await waitFor(() => provider.requests.some(({ piecesSent }) => piecesSent === 200), {
      what: 'that the model speaks on',
    });
    // It tries, and tries again.
    await waitFor(() => connections >= before + 2, { what: 'two attempts to connect' });
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
    await waitFor(async () => (await footer(page))?.startsWith('Complete. '), { what: 'its end' });
    // As the stream says it, or the conversation where the answer was complete before the page was back.
    expect(await footer(page)).toMatch(/^Complete\. (test-chat: )?11 \+ 400 tokens, \$0\.000811$/);
    expect(await page.locator('article.user p').allTextContents()).toEqual(['Tell me all']);
    expect(await page.locator('article.assistant').count()).toBe(1);
    expect(completions()).toBe(1);
    expect(
      (await settledRows(database.db)).map(({ status, completion_tokens }) => [status, completion_tokens]),
    ).toEqual([['COMPLETED', 400]]);
  }, 90_000);

  it('stops the answer and the bill', async () => {
    provider.script('test-chat', { pieces: PIECES, hold: { after: 50, until: forever } });
    const page = await open(tab);
    await send(page, 'Tell me all');
    await reads(page, upTo(50), 'the first fifty pieces');
    await page.click('#stop');
    await eventually((await provider.completion(0)).closed, 'the end of the upstream request');
    await ended(page, 'StreamStopped');
    expect(await answer(page)).toBe(upTo(50));
    expect(await footer(page)).toMatch(/^Stopped \(client\)\. test-chat: \d+ \+ \d+ tokens, \$0\.000/);
    expect((await settledRows(database.db)).at(-1)).toMatchObject({ status: 'STOPPED' });
    expect(await page.isDisabled('#stop')).toBe(true);
  }, 60_000);

  it('reads on another device what was asked with CONTINUE on a page that is closed', async () => {
    const [alone, together] = [gate(), gate()];
    provider.script('test-chat', {
      pieces: PIECES,
      hold: [
        { after: 100, until: alone },
        { after: 200, until: together },
      ],
    });
    const page = await open(tab);
    await page.selectOption('#policy', 'CONTINUE');
    await send(page, 'Go on without me');
    await reads(page, upTo(100), 'the first hundred pieces');
    await page.close();
    alone.open();
    await waitFor(() => provider.requests.some(({ piecesSent }) => piecesSent === 200), {
      what: 'that the model speaks on',
    });

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

  it('asks a first question once, however often Send is meant', async () => {
    provider.script('test-chat', { pieces: PIECES.slice(0, 5) });
    const page = await open(tab);
    const [asked, answered] = [gate(), gate()];
    // The new conversation takes its time.
    await page.route('**/graphql', async (route) => {
      if (!route.request().postData()?.includes('createConversation')) return route.continue();
      asked.open();
      await answered.opened;
      return route.continue();
    });
    const calls = (await settledRows(database.db)).length;
    await page.fill('#question', 'Only once');
    await page.press('#question', 'Enter');
    await eventually(asked.opened, 'the new conversation');
    expect(await page.isDisabled('#send')).toBe(true);
    await page.press('#question', 'Enter');
    answered.open();
    await ended(page, 'StreamCompleted');
    expect(await page.isDisabled('#send')).toBe(false);
    expect(await page.locator('article h3').allTextContents()).toEqual(['You', 'Model']);
    expect(completions()).toBe(1);
    expect(await settledRows(database.db)).toHaveLength(calls + 1);
  }, 60_000);

  it('a first question that could not be asked can be asked again', async () => {
    provider.script('test-chat', { pieces: PIECES.slice(0, 5) });
    const page = await open(tab);
    await page.route('**/graphql', (route) =>
      route.request().postData()?.includes('createConversation')
        ? route.fulfill({ json: { errors: [{ message: 'Not now.' }] } })
        : route.continue(),
    );
    await send(page, 'Once more');
    await page.locator('#problem', { hasText: 'Not now.' }).waitFor();
    await page.unroute('**/graphql');
    await page.click('#send');
    await ended(page, 'StreamCompleted');
    expect(await answer(page)).toBe(upTo(5));
    expect(completions()).toBe(1);
  }, 60_000);

  it('shows an answer once that came while the page was loaded anew before its first event', async () => {
    provider.script('test-chat', { pieces: PIECES.slice(0, 5) });
    const page = await open(tab);
    // The question goes out, and nothing comes back.
    let mute = true;
    await page.routeWebSocket('**/graphql', (socket) => {
      const server = socket.connectToServer();
      server.onMessage(
        (message) => void ((!mute || String(message).includes('connection_ack')) && socket.send(message)),
      );
    });
    await page.reload();
    await page.locator('#model option').first().waitFor({ state: 'attached' });
    const calls = (await settledRows(database.db)).length;
    await send(page, 'Shown once');
    await waitFor(async () => (await settledRows(database.db)).length === calls + 1, { what: 'the end of the call' });
    mute = false;
    await page.reload();
    await waitFor(() => page.evaluate("sessionStorage.getItem('stream-chat') === null"), {
      what: 'that nothing is to be gone on with',
    });
    await waitFor(async () => (await state(page)) === 'idle', { what: 'that the page has finished' });
    expect(await page.locator('article p').allTextContents()).toEqual(['Shown once', upTo(5)]);
    expect(await page.isDisabled('#send')).toBe(false);
    expect(completions()).toBe(1);
  }, 60_000);

  it('nothing went wrong on the page', () => expect(faults).toEqual([]));
});
