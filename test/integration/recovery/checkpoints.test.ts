import { countTokens } from '../../../src/lib/token-estimate';
import { CheckpointStore, type NewCheckpoint } from '../../../src/services/recovery/checkpoint.store';
import { Checkpoints, type CheckpointHandle } from '../../../src/services/recovery/checkpoints';
import { RecoveryStore } from '../../../src/services/recovery/recovery.store';
import { KeptReader } from '../../../src/services/streams/kept-pieces';
import { PieceLog } from '../../../src/services/streams/piece-log';
import { memoryLogger } from '../../support/log';
import { AT_ONCE_MS, waitFor } from '../../support/wait';
import { RecoveryScene } from './recovery-scene';
import type { StreamEvent, NewEvent } from '../../../src/domain/stream-events';

/** Passes writes on, and fails as a test wants it. */
class Store {
  readonly statements: NewCheckpoint[][] = [];
  failing: 'BEFORE' | 'AFTER' | null = null;
  constructor(private readonly store: CheckpointStore) {}

  async write(rows: readonly NewCheckpoint[]): Promise<void> {
    if (this.failing === 'BEFORE') throw new Error('the database is away');
    this.statements.push([...rows]);
    await this.store.write(rows);
    if (this.failing === 'AFTER') throw new Error('the acknowledgement was lost');
  }
}

let scene: RecoveryScene;
let store: Store;
let checkpoints: Checkpoints;
const logger = memoryLogger();
beforeAll(async () => {
  scene = await RecoveryScene.create();
});
afterAll(() => scene.database.close());
beforeEach(() => {
  store = new Store(new CheckpointStore(scene.db));
  // Always due; written when a test says so.
  checkpoints = new Checkpoints({ store, logger, everyMs: 0 });
  jest.spyOn(global, 'setInterval').mockReturnValue({ unref: () => undefined } as never);
});
afterEach(async () => {
  jest.restoreAllMocks();
  await checkpoints.stop();
});

/** A stream as a call runs it: its first event is there, and pieces go into its log. */
function begin(callId: string) {
  const log = new PieceLog();
  log.append({ kind: 'StreamStarted', streamId: 's', callId, model: 'm', conversation: null });
  return {
    ...bound(checkpoints.begin({ organizationId: scene.world.organizationId, id: callId }, log)),
    log,
    piece: (event: NewEvent) => void log.append(event),
  };
}
const bound = (handle: CheckpointHandle) => ({ head: handle.head.bind(handle), end: handle.end.bind(handle) });
/** What somebody gets who puts the rows back together: each event by itself. */
async function rebuilt(callId: string): Promise<StreamEvent[]> {
  const log = new PieceLog();
  log.append({ kind: 'StreamStarted', streamId: 's', callId, model: 'm', conversation: null });
  const reader = new KeptReader(log);
  for (const row of await rows(callId)) reader.add({ ...row, firstSeq: row.first_seq });
  return [...log.pieces(1)];
}
const text = (content: string) => ({ kind: 'TextDelta', text: content }) as const;
const rows = (callId: string): Promise<any[]> =>
  scene.db.query('SELECT * FROM call_checkpoints WHERE call_id = $1 ORDER BY number', [callId]);
const whole = async (callId: string) =>
  (await new RecoveryStore(scene.db).checkpoints([{ organizationId: scene.world.organizationId, id: callId }])).get(
    callId,
  );

it('puts what came since the last one into a row: text, reasoning, tool calls, whom it came from, and the tokens so far', async () => {
  const { id } = await scene.admit();
  const stream = begin(id);
  stream.head('served', 'served-1');
  stream.piece({ kind: 'ReasoningDelta', text: 'Let me see. ' });
  stream.piece(text('It is '));
  stream.piece(text('a dam'));
  await checkpoints.write();
  stream.piece(text(' in a river.'));
  stream.piece({ kind: 'ToolCallDelta', index: 0, toolCallId: 't', name: 'look', arguments: '{"at":' });
  stream.piece({ kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: '"it"}' });
  await checkpoints.write();
  const first = countTokens('Let me see. ') + countTokens('It is a dam');
  expect(await rows(id)).toMatchObject([
    {
      number: 1,
      content: 'It is a dam',
      reasoning: 'Let me see. ',
      tools: '',
      completion_tokens: first,
      served_model: 'served',
      deployment: 'served-1',
    },
    {
      number: 2,
      content: ' in a river.',
      reasoning: '',
      tools: 'look{"at":"it"}',
      completion_tokens: first + countTokens(' in a river.') + countTokens('look{"at":"it"}'),
    },
  ]);
});

it('writes nothing where nothing came', async () => {
  const stream = begin((await scene.admit()).id);
  await checkpoints.write();
  stream.piece(text('a'));
  await checkpoints.write();
  await checkpoints.write();
  expect(store.statements).toHaveLength(1);
});

it('writes many streams with one statement', async () => {
  const calls = await Promise.all(Array.from({ length: 30 }, () => scene.admit()));
  for (const { id } of calls) begin(id).piece(text(`of ${id}`));
  await checkpoints.write();
  expect(store.statements.map((statement) => statement.length)).toEqual([30]);
  for (const { id } of calls) expect(await whole(id)).toMatchObject({ content: `of ${id}` });
});

it.each([
  ['a sign that comes in two halves, with a checkpoint between', ['Look: \ud83d', '\ude00!'], 'Look: 😀!'],
  ['a sign whose halves come alone', ['\ud83d', '\ude00', '.'], '😀.'],
  ['half a sign that stays alone', ['a\ud83d', 'b'], 'a\ufffdb'],
  ['NUL', ['a\0', '\0b'], 'a\ufffd\ufffdb'],
])('keeps %s', async (_name, pieces, expected) => {
  const { id } = await scene.admit();
  const stream = begin(id);
  for (const piece of pieces) {
    stream.piece(text(piece));
    await checkpoints.write();
  }
  expect((await whole(id))!.content).toBe(expected);
});

it('keeps the text for the next time while the database is away, tells it once, and loses none', async () => {
  const { id } = await scene.admit();
  const stream = begin(id);
  store.failing = 'BEFORE';
  const before = logger.lines.length;
  for (const piece of ['One ', 'two ', 'three ']) {
    stream.piece(text(piece));
    await checkpoints.write();
  }
  expect(await rows(id)).toEqual([]);
  expect(logger.lines.slice(before)).toHaveLength(1);
  store.failing = null;
  stream.piece(text('four.'));
  await checkpoints.write();
  await checkpoints.write();
  expect(await whole(id)).toMatchObject({ content: 'One two three four.' });
  expect((await rows(id)).map(({ number }) => number)).toEqual([1, 2]);
});

it('does not double what was written when only the acknowledgement was lost', async () => {
  const { id } = await scene.admit();
  const stream = begin(id);
  stream.piece(text('One '));
  store.failing = 'AFTER';
  await checkpoints.write();
  store.failing = null;
  stream.piece(text('two.'));
  await checkpoints.write();
  await checkpoints.write();
  expect(await whole(id)).toMatchObject({
    content: 'One two.',
    completionTokens: countTokens('One ') + countTokens('two.'),
  });
});

it('writes a megabyte in rows of bounded size, in order', async () => {
  const { id } = await scene.admit();
  const long = Array.from({ length: 20_000 }, (_, i) => `word ${i} 😀`).join(' ');
  begin(id).piece(text(long));
  for (let i = 0; i < 6; i += 1) await checkpoints.write();
  expect((await rows(id)).every(({ content }) => content.length <= 64 * 1024)).toBe(true);
  expect((await whole(id))!.content).toBe(long);
});

it('writes nothing of a call that has ended, be it here or elsewhere', async () => {
  const [ended, settledElsewhere] = [await scene.admit(), await scene.admit()];
  const stream = begin(ended.id);
  stream.piece(text('a'));
  stream.end();
  begin(settledElsewhere.id).piece(text('a'));
  await scene.db.query('DELETE FROM calls_in_flight WHERE id = $1', [settledElsewhere.id]);
  await checkpoints.write();
  expect(store.statements).toEqual([[expect.objectContaining({ callId: settledElsewhere.id })]]);
  expect([await rows(ended.id), await rows(settledElsewhere.id)]).toEqual([[], []]);
});

describe('by itself', () => {
  beforeEach(() => jest.restoreAllMocks());

  it('writes every so often', async () => {
    const { id } = await scene.admit();
    checkpoints = new Checkpoints({ store, logger, everyMs: 20 });
    const stream = begin(id);
    stream.piece(text('One '));
    await waitFor(async () => (await rows(id)).length === 1);
    stream.piece(text('two.'));
    await waitFor(async () => (await whole(id))?.content === 'One two.');
  });

  it('writes at once when there is much, without waiting for its time', async () => {
    const { id } = await scene.admit();
    checkpoints = new Checkpoints({ store, logger, everyMs: 3_600_000 });
    const stream = begin(id);
    stream.piece(text('a'.repeat(4_095)));
    await new Promise((resolve) => setImmediate(resolve));
    expect(store.statements).toEqual([]);
    stream.piece(text('b'));
    await waitFor(async () => (await whole(id))?.content.length === 4_096, {
      deadlineMs: AT_ONCE_MS,
      what: 'the whole text',
    });
  });
});

describe('a stream that is put together again', () => {
  const deltas: NewEvent[] = [
    { kind: 'ReasoningDelta', text: 'Hm. ' },
    text('It '),
    text(''),
    text('is a \ud83d'),
    text('\ude00. '),
    { kind: 'StreamProgress', completionTokens: 3, estimatedCost: '0.01' },
    text('And '),
    { kind: 'ToolCallDelta', index: 0, toolCallId: 't1', name: 'look', arguments: '{"at":' },
    { kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: '"it"}' },
    { kind: 'ToolCallDelta', index: 1, toolCallId: 't2', name: 'see', arguments: '' },
    { kind: 'ReasoningDelta', text: 'So. ' },
    text('\ud83d'),
    text('\ude00'),
    text('end'),
  ];

  it.each([1, 2, 3, 5, 100])('has every piece with its number, with a checkpoint behind each %d', async (every) => {
    const { id } = await scene.admit();
    const stream = begin(id);
    for (const [i, delta] of deltas.entries()) {
      stream.piece(delta);
      if ((i + 1) % every === 0) await checkpoints.write();
    }
    await checkpoints.write();
    expect(await rebuilt(id)).toEqual([...stream.log.pieces(1)]);
    const written = await rows(id);
    expect(written.map(({ first_seq }) => first_seq)).toEqual([
      2,
      ...written.slice(0, -1).map(({ last_seq }) => last_seq + 1),
    ]);
    expect(written.at(-1)).toMatchObject({ last_seq: deltas.length + 1 });
  });

  it('ends before a piece of which half a sign is not there yet', async () => {
    const { id } = await scene.admit();
    const stream = begin(id);
    for (const delta of [text('a'), text('b\ud83d')]) stream.piece(delta);
    await checkpoints.write();
    expect(await rebuilt(id)).toEqual([{ kind: 'TextDelta', fromSeq: 2, seq: 2, text: 'a' }]);
    stream.piece(text('\ude00'));
    await checkpoints.write();
    expect(await rebuilt(id)).toEqual([...stream.log.pieces(1)]);
  });

  it('does not wait for the other half of a sign when the model speaks of something else meanwhile', async () => {
    const { id } = await scene.admit();
    const stream = begin(id);
    for (const delta of [text('a\ud83d'), { kind: 'ReasoningDelta', text: 'Hm.' } as const]) stream.piece(delta);
    await checkpoints.write();
    expect(await rebuilt(id)).toMatchObject([{ text: 'a\ufffd' }, { text: 'Hm.' }]);
  });

  it('has a piece of a megabyte whole, and the pieces around it', async () => {
    const { id } = await scene.admit();
    const stream = begin(id);
    for (const delta of [
      text('before '),
      text('😀'.repeat(300_000)),
      text(' behind'),
      { kind: 'ReasoningDelta', text: 'Hm.' } as const,
    ])
      stream.piece(delta);
    for (let i = 0; i < 12; i += 1) await checkpoints.write();
    expect((await rows(id)).length).toBeGreaterThan(9);
    expect(await rebuilt(id)).toEqual([...stream.log.pieces(1)]);
  });

  it('has nothing behind a row that is missing, and nothing of a version that kept no numbers', async () => {
    const { id } = await scene.admit();
    const stream = begin(id);
    for (const delta of [text('a'), text('b'), text('c')]) {
      stream.piece(delta);
      await checkpoints.write();
    }
    await scene.db.query('DELETE FROM call_checkpoints WHERE call_id = $1 AND number = 2', [id]);
    expect(await rebuilt(id)).toMatchObject([{ text: 'a' }]);
    await scene.db.query(
      'UPDATE call_checkpoints SET first_seq = NULL, last_seq = NULL, pieces = NULL WHERE call_id = $1',
      [id],
    );
    expect(await rebuilt(id)).toEqual([]);
  });
});
