import { listSpend, readListedRecords, type SpendList } from '../../../src/services/upstream/litellm/spend-list';
import { spendPage, spendRow } from '../../support/spend-records';

const START = Date.parse('2026-11-20T10:00:00Z');
/** Records that begin so many milliseconds behind START. */
const rowsAt = (...offsets: number[]): Record<string, unknown>[] =>
  offsets.map((ms, i) =>
    spendRow({ callId: `call_${i}`, requestId: `r${i}`, startTime: new Date(START + ms).toISOString() }),
  );
const text = (second: number): string => new Date(second * 1_000).toISOString().slice(0, 19).replace('T', ' ');
const source = (rows: Record<string, unknown>[], asked: string[] = []): Pick<SpendList, 'spendPage'> => ({
  spendPage: async (from, to, page, size) => {
    asked.push(`${from - START / 1_000}-${to - START / 1_000} #${page}`);
    const body = spendPage(rows, {
      start_date: text(from),
      end_date: text(to),
      page,
      page_size: size,
      sort_order: 'asc',
    }) as { data: unknown[]; total: number };
    return { records: readListedRecords(body.data), length: body.data.length, total: body.total };
  },
});
const list = async (
  rows: Record<string, unknown>[],
  fromMs: number,
  toMs: number,
  size: number,
  asked: string[] = [],
): Promise<string[]> => {
  const found: string[] = [];
  for await (const records of listSpend(source(rows, asked), START + fromMs, START + toMs, size))
    found.push(...records.map(({ requestId }) => requestId));
  return found;
};

it('gives every record of a span once, to the millisecond, whatever the size of a page', async () => {
  const offsets = Array.from({ length: 60 }, (_, i) => i * 170);
  const rows = rowsAt(...offsets);
  const wanted = offsets.flatMap((ms, i) => (ms >= 1_234 && ms < 8_765 ? [`r${i}`] : []));
  for (const size of [7, 8, 20, 59, 60, 1_000]) expect(await list(rows, 1_234, 8_765, size)).toEqual(wanted);
});

it('goes through a second that holds more than a page, and on behind it', async () => {
  const rows = rowsAt(500, 1_000, ...Array.from({ length: 25 }, (_, i) => 1_100 + i), 1_999, 2_000, 2_001, 4_000);
  const asked: string[] = [];
  const found = await list(rows, 0, 5_000, 10, asked);
  expect([...found].sort()).toEqual(rows.map((row) => row.request_id).sort());
  expect(new Set(found).size).toBe(found.length);
  expect(asked).toEqual(['0-5 #1', '1-5 #1', '1-2 #1', '1-2 #2', '1-2 #3', '2-5 #1']);
});

it('begins each question where the last page ended: a record that is written late moves no other out of sight', async () => {
  const rows = rowsAt(...Array.from({ length: 30 }, (_, i) => i * 500));
  const late = spendRow({ callId: 'late', requestId: 'late', startTime: new Date(START + 100).toISOString() });
  const found: string[] = [];
  const growing = source(rows);
  for await (const records of listSpend(growing, START, START + 60_000, 10)) {
    found.push(...records.map(({ requestId }) => requestId));
    if (!rows.includes(late)) rows.unshift(late);
  }
  expect(found).toEqual(Array.from({ length: 30 }, (_, i) => `r${i}`));
});

it('asks once where there is nothing', async () => {
  const asked: string[] = [];
  expect(await list([], 500, 1_500, 10, asked)).toEqual([]);
  expect(asked).toEqual(['0-2 #1']);
});

it('reads what a record says, and leaves out what is none', () => {
  const row = spendRow({
    callId: 'call_1',
    requestId: 'r1',
    startTime: '2026-11-20T10:00:00.123Z',
    keyAlias: 'weir-1-usr_1',
    teamId: 'weir-1-pln_1',
    promptTokens: 1_200,
    cachedTokens: 1_000,
    completionTokens: 50,
    spend: 6e-8,
    cacheReadCost: 5e-8,
  });
  expect(readListedRecords([row, null, 3, {}, { request_id: 'x', startTime: 'yesterday' }])).toMatchObject([
    {
      requestId: 'r1',
      callId: 'call_1',
      startedMs: START + 123,
      keyAlias: 'weir-1-usr_1',
      teamId: 'weir-1-pln_1',
      state: 'REPORTED',
      hasDetails: true,
      totalTokens: 1_250,
      spend: '0.00000006',
      cacheReadCost: '0.00000005',
      cacheWriteCost: null,
      fromCache: false,
      servedModel: 'm',
      tokens: { uncachedPrompt: 200, cacheRead: 1_000, output: 50 },
    },
  ]);
  // Without a zone it is UTC all the same.
  expect(readListedRecords([{ ...row, startTime: '2026-11-20T10:00:00.123' }])[0]!.startedMs).toBe(START + 123);
});
