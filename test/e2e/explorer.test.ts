import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import serverless from '@sparticuz/chromium';
import { chromium, type Browser, type Page } from 'playwright-core';
import { startTestApp, type TestApp } from '../support/app';
import { createTestDatabase, type TestDatabase } from '../support/database';
import { createWorld, type World } from '../support/factories';
import { startProvider, type FakeProvider } from '../support/provider';
import { gate } from '../support/provider-script';
import { settledRows } from '../support/usage-rows';
import { waitFor } from '../support/wait';

/** CodeMirror draws only the lines in view: this is its whole text. */
const resultOf = (page: Page): Promise<string> =>
  page
    .locator('.result-window .CodeMirror')
    .evaluate((element) => (element as unknown as { CodeMirror: { getValue(): string } }).CodeMirror.getValue());
const run = (page: Page): Promise<void> => page.locator('.graphiql-execute-button').click();
const openTab = (page: Page, name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();

describe('the explorer in a browser without the internet', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weir-explorer-'));
  let database: TestDatabase;
  let world: World;
  let provider: FakeProvider;
  let app: TestApp;
  let browser: Browser;
  let page: Page;
  const requested: string[] = [];
  const faults: string[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    provider = await startProvider();
    world = await createWorld(database.db, { plan: { defaultModel: 'test-chat' } });
    const demoFile = path.join(folder, 'demo.json');
    writeFileSync(demoFile, JSON.stringify({ tokens: { free: world.analyst.token, pro: world.member.token } }));
    app = await startTestApp({ database, upstream: provider, config: { explorer: true, demoFile } });
    // No name but ours is resolved, so that what would be loaded from elsewhere is missed here, too.
    browser = await chromium.launch({
      executablePath: await serverless.executablePath(),
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
      ],
    });
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on('request', (request) => requested.push(request.url()));
    page.on('websocket', (socket) => requested.push(socket.url()));
    page.on('requestfailed', (request) => faults.push(`${request.url()} ${request.failure()?.errorText}`));
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => void (message.type() === 'error' && faults.push(message.text())));
    await page.goto(app.url);
  });
  afterAll(async () => {
    await browser?.close();
    await app?.stop();
    await provider?.close();
    await database?.close();
    rmSync(folder, { recursive: true });
  });

  it('opens at the address of the graph with a demonstration token filled in, and lists models', async () => {
    expect(await page.inputValue('#token')).toBe(world.member.token);
    await run(page);
    const result = await waitFor(
      async () => {
        const text = await resultOf(page);
        return text.includes('"items"') ? text : null;
      },
      { what: 'the list of models' },
    );
    expect(JSON.parse(result).data.models.items.map(({ id }: { id: string }) => id)).toEqual([
      'test-chat',
      'test-small',
      'test-unpriced',
    ]);
  });

  it('shows the words of a subscription as they come, and its end', async () => {
    const rest = gate();
    provider.script('test-chat', { pieces: ['The ', 'river ', 'ran ', 'on.'], hold: { after: 2, until: rest } });
    await openTab(page, 'ChatStream');
    await run(page);
    // The provider is silent now: these two words stand on the page.
    await waitFor(async () => (await resultOf(page)).includes('The river'), { what: 'the first words on the page' });
    expect(await resultOf(page)).not.toContain('ran');
    rest.open();
    const result = await waitFor(
      async () => {
        const text = await resultOf(page);
        return text.includes('StreamCompleted') ? text : null;
      },
      { what: 'the end of the stream on the page' },
    );
    expect(JSON.parse(result).data.chatStream).toMatchObject({
      __typename: 'StreamCompleted',
      reply: { answer: { content: 'The river ran on.' } },
    });
    expect(await settledRows(database.db)).toEqual([
      expect.objectContaining({ status: 'COMPLETED', streamed: true, user_id: world.member.id }),
    ]);
  });

  it('runs as whom the role field says', async () => {
    await page.selectOption('#role', 'free');
    expect(await page.inputValue('#token')).toBe(world.analyst.token);
    await openTab(page, 'Chat');
    await run(page);
    await waitFor(async () => (await resultOf(page)).includes('You said: Say hello in five languages.'), {
      what: 'the answer on the page',
    });
    expect((await settledRows(database.db)).map(({ user_id }) => user_id)).toEqual([world.member.id, world.analyst.id]);
  });

  it('has asked no server but ours, and nothing went wrong on the page', () => {
    const { host } = new URL(app.url);
    expect(requested.length).toBeGreaterThan(8);
    expect(requested).toContainEqual(expect.stringMatching(/^ws:/));
    expect(requested.filter((url) => !url.startsWith('data:') && new URL(url).host !== host)).toEqual([]);
    expect(faults).toEqual([]);
  });
});
