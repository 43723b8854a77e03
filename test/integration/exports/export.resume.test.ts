import { execFile, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ExportScene, get, parseCsv } from './export-scene';
import { waitFor } from '../../support/wait';
import { correctUsage, type UsageRow } from '../usage/usage-rows';

let scene: ExportScene;
beforeAll(async () => {
  scene = await ExportScene.open();
});
beforeEach(() => scene.renew());
afterAll(() => scene.close());

/** More than two pages of calls. */
const CALLS = 10_100;
const HEADER = 'call_id,occurred_at,';

describe('a part of a file', () => {
  it('has the bytes of the whole file from there on, wherever it begins, and at whichever replica', async () => {
    await scene.settleMany(CALLS);
    const url = await scene.link(scene.ours.member);
    const { body: whole } = await get(url);
    expect(parseCsv(whole.toString())).toHaveLength(CALLS + 1);
    const offsets = [
      0,
      1,
      whole.length - 1,
      whole.indexOf('\r\n'),
      whole.indexOf('\r\n') + 1,
      whole.indexOf('\r\n') + 2,
      ...Array.from({ length: 4 }, () => randomInt(whole.length)),
    ];
    for (const [i, from] of offsets.entries()) {
      // The other one has seen nothing of it at first.
      const { status, headers, body } = await get(i % 2 === 0 ? scene.elsewhere(url) : url, {
        range: `bytes=${from}-`,
      });
      expect([from, status, headers.get('content-range'), headers.get('content-length')]).toEqual([
        from,
        206,
        `bytes ${from}-${whole.length - 1}/${whole.length}`,
        String(whole.length - from),
      ]);
      expect([from, body.equals(whole.subarray(from))]).toEqual([from, true]);
    }
  });

  it('is told as RFC 9110 wants it, or the header is ignored', async () => {
    await scene.settle(scene.row());
    const url = await scene.link(scene.ours.member);
    const whole = await get(url);
    const total = whole.body.length;
    const tag = whole.headers.get('etag')!;
    const asked = async (headers: Record<string, string>): Promise<unknown[]> => {
      const answer = await get(url, headers);
      const range = answer.headers.get('content-range');
      expect(answer.headers.get('accept-ranges')).toBe('bytes');
      expect(answer.headers.get('etag')).toBe(tag);
      const [, from, to] = /^bytes (\d+)-(\d+)\//.exec(range ?? '') ?? [null, 0, total - 1];
      expect([
        headers,
        answer.body.equals(answer.status === 416 ? Buffer.alloc(0) : whole.body.subarray(Number(from), Number(to) + 1)),
      ]).toEqual([headers, true]);
      return [answer.status, range];
    };
    const part = (from: number, to: number): unknown[] => [206, `bytes ${from}-${to}/${total}`];
    const ignored = [200, null];
    expect(await asked({ range: 'bytes=0-' })).toEqual(part(0, total - 1));
    expect(await asked({ range: 'bytes=5-9' })).toEqual(part(5, 9));
    expect(await asked({ range: 'bytes=0-0' })).toEqual(part(0, 0));
    expect(await asked({ range: `bytes=${HEADER.length}-${total + 999}` })).toEqual(part(HEADER.length, total - 1));
    expect(await asked({ range: 'bytes=-7' })).toEqual(part(total - 7, total - 1));
    expect(await asked({ range: `bytes=-${total + 1}` })).toEqual(part(0, total - 1));
    expect(await asked({ range: 'BYTES= 5-9 ' })).toEqual(part(5, 9));
    for (const range of [`bytes=${total}-`, `bytes=${total + 1}-${total + 2}`, 'bytes=-0', 'bytes=999999999999999-'])
      expect([range, await asked({ range })]).toEqual([range, [416, `bytes */${total}`]]);
    for (const range of [
      'bytes=0-1,3-4',
      'bytes=9-5',
      'bytes=-',
      'bytes=a-',
      'lines=0-',
      'bytes 0-',
      'bytes=0x1-',
      'bytes=1.5-',
      '',
    ])
      expect([range, await asked({ range })]).toEqual([range, ignored]);
    // Only of the very same file: else the whole of this one.
    expect(await asked({ range: 'bytes=5-', 'if-range': tag })).toEqual(part(5, total - 1));
    for (const other of ['"x"', `W/${tag}`, new Date().toUTCString()])
      expect([other, await asked({ range: 'bytes=5-', 'if-range': other })]).toEqual([other, ignored]);
  });

  it('HEAD says the same without the file', async () => {
    await scene.settleMany(20);
    const url = await scene.link(scene.ours.member);
    const [head, whole] = [await get(url, { range: 'bytes=5-' }, 'HEAD'), await get(url)];
    expect([head.status, head.body.length, whole.status]).toEqual([200, 0, 200]);
    for (const name of [
      'content-length',
      'content-type',
      'content-disposition',
      'etag',
      'accept-ranges',
      'cache-control',
    ])
      expect([name, head.headers.get(name)]).toEqual([name, whole.headers.get(name)]);
    expect(head.headers.get('content-length')).toBe(String(whole.body.length));
  });

  it('is of the file as it was, while calls are settled and corrected and prices change', async () => {
    const { ours } = scene;
    const { db } = scene.database;
    const rows: UsageRow[] = Array.from({ length: 6_000 }, (_, i) =>
      scene.row({
        occurred_at: new Date(Date.UTC(2026, 9, 1) + i * 1_000).toISOString(),
        model: `lively-${i % 3}`,
        agent: 'x'.repeat(i % 40),
      }),
    );
    await scene.settle(...rows);
    const then = new Date();
    const url = await scene.link(ours.analyst, null, then);
    let changes = 0;
    const change = async (): Promise<void> => {
      const i = changes++;
      const call = rows[randomInt(rows.length)]!;
      if (i % 3 === 0)
        await scene.settle(
          scene.row({ occurred_at: call.occurred_at, model: 'lively-0' }),
          scene.row({ occurred_at: new Date().toISOString() }),
        );
      // Corrected before, it may be corrected again: to something else each time.
      else if (i % 3 === 1)
        await correctUsage(db, call, { output_tokens: 1_000 + i, usage_source: 'RECONCILED', status: 'STOPPED' });
      else {
        const input = {
          model: `lively-${i % 2}`,
          effectiveFrom: '2026-01-01T00:00:00Z',
          inputPerMillion: String(100 + i),
          outputPerMillion: '5',
        };
        const { errors } = await scene.app.graphql(
          ours.operator.token,
          'mutation ($input: ModelPriceInput!) { setModelPrice(input: $input) { affectedCalls } }',
          { input },
        );
        expect(errors).toBeNull();
      }
    };
    // The first file, in pieces, with a change between each two; then the whole of it, with changes all the while.
    const pieces: Buffer[] = [];
    for (let at = 0, total = 1; at < total;) {
      const to = at + 40_000 + randomInt(200_000);
      const { status, body, headers } = await get(at % 2 ? url : scene.elsewhere(url), { range: `bytes=${at}-${to}` });
      expect([status, status === 206 ? '' : body.toString()]).toEqual([206, '']);
      pieces.push(body);
      at += body.length;
      total = Number(headers.get('content-range')!.split('/')[1]);
      await change();
    }
    const together = Buffer.concat(pieces);
    let reading = true;
    const changing = (async () => {
      while (reading) await change();
    })();
    try {
      for (let round = 0; round < 4; round += 1) {
        const before = changes;
        expect((await get(round % 2 ? url : scene.elsewhere(url))).body.equals(together)).toBe(true);
        // Whichever is the slower: some of each between two of the other.
        await waitFor(() => changes > before + 2, { what: 'changes' });
      }
    } finally {
      reading = false;
      await changing;
    }
    expect(changes).toBeGreaterThan(10);
    const lines = parseCsv(together.toString());
    expect(lines).toHaveLength(rows.length + 1);
    expect(new Set(lines.slice(1).map((line) => line.at(-1)))).toEqual(new Set(['false']));
    // That time asked for again gives the same file, and now gives another one.
    expect((await get(await scene.link(ours.analyst, null, then))).body.equals(together)).toBe(true);
    const now = parseCsv((await get(await scene.link(ours.analyst))).text);
    expect(now.length).toBeGreaterThan(lines.length);
    expect(now.filter((line) => line.at(-1) === 'true').length).toBeGreaterThan(0);
  });
});

const stampOf = (headers: Headers): string | undefined =>
  /as-of-(\w+)\.csv/.exec(headers.get('content-disposition')!)?.[1];

const curl = (args: string[]): Promise<{ stdout: string }> =>
  promisify(execFile)('curl', ['-sS', '--fail', '-w', '%{http_code} %{size_download}', ...args]);
const ifCurl = spawnSync('curl', ['--version']).status === 0 ? describe : describe.skip;

ifCurl('curl', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'weir-curl-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('goes on where it was cut (-C -), here or at another replica, and finds nothing to do with a whole file', async () => {
    await scene.settleMany(CALLS);
    const url = await scene.link(scene.ours.member);
    const { body: whole } = await get(url);
    const file = path.join(folder, 'calls.csv');
    for (const [where, cut] of [
      [scene.elsewhere(url), 1],
      [url, randomInt(1, whole.length)],
      [scene.elsewhere(url), whole.length - 1],
    ] as const) {
      writeFileSync(file, whole.subarray(0, cut));
      expect((await curl(['-C', '-', '-o', file, where])).stdout).toBe(`206 ${whole.length - cut}`);
      expect(readFileSync(file).equals(whole)).toBe(true);
    }
    await curl(['-C', '-', '-o', file, url]).catch((error: { stdout: string }) =>
      expect(error.stdout).toMatch(/^416 /),
    );
    expect(readFileSync(file).equals(whole)).toBe(true);
  });

  it('takes the name that the file is given (-OJ)', async () => {
    await scene.settle(scene.row());
    const url = await scene.link(scene.ours.member);
    await promisify(execFile)('curl', ['-sSOJ', url], { cwd: folder });
    const name = `weir-calls_as-of-${stampOf((await get(url)).headers)}.csv`;
    expect(readFileSync(path.join(folder, name)).equals((await get(url)).body)).toBe(true);
  });
});
