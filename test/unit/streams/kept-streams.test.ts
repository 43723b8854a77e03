import type { Viewer } from '../../../src/domain/principal';
import { KeptStreams } from '../../../src/services/streams/kept-streams';
import type { KeptEnd, KeptLook } from '../../../src/services/streams/kept.store';
import { Subscriber } from '../../../src/services/streams/subscriber';
import { KEPT_GAP, TOLD } from '../../../src/services/streams/told-answer';
import { streamIdOfCall, newId } from '../../../src/lib/ids';
import { memoryLogger } from '../../support/log';
import type { CallRecord } from '../../../src/domain/call';
import type { StreamEvent } from '../../../src/domain/stream-events';

type Row = KeptLook['rows'][number];
const row = (number: number, firstSeq: number, texts: string[], more: Partial<Row> = {}): Row => ({
  number,
  firstSeq,
  content: texts.join(''),
  reasoning: '',
  tools: '',
  pieces: texts.map((text) => text.length),
  ...more,
});
const ended = (fields: Partial<KeptEnd> = {}): KeptEnd => ({
  finishReason: 'STOP',
  attempts: 1,
  omittedMessages: 0,
  answer: null,
  stored: null,
  ...fields,
});
const answer = (content: string, more: Partial<NonNullable<KeptEnd['answer']>> = {}): KeptEnd['answer'] => ({
  id: 'msg_1',
  conversationId: 'conv_1',
  content,
  reasoning: null,
  toolCalls: [],
  createdAt: new Date(0),
  complete: true,
  superseded: false,
  ...more,
});
const viewer = { userId: 'u', organizationId: 'o', role: 'MEMBER' } as Viewer;
const conversation = {
  id: 'conv_1',
  organizationId: 'o',
  userId: 'u',
  projectId: null,
  title: null,
  createdAt: new Date(0),
  updatedAt: new Date(0),
};

/** What the database says, as a test wants it. */
class Scene {
  readonly callId = newId('call');
  call = {
    id: this.callId,
    userId: 'u',
    organizationId: 'o',
    occurredAt: new Date(0),
    conversationId: 'conv_1',
    model: 'm',
    servedModel: 'm',
    upstream: 'DIRECT',
    status: 'RUNNING',
    streamed: true,
    errorCode: null,
    tokens: {},
    usageSource: 'NONE',
    cost: null,
    latencyMs: null,
    timeToFirstTokenMs: null,
  } as unknown as CallRecord;
  rows: Row[] = [];
  flight: KeptLook['flight'] = { stopReason: null, deadMs: null };
  end: KeptEnd | null = null;
  away = false;
  looks = 0;
  private readonly store = {
    look: async (questions: readonly { callId: string; afterRow: number }[]) => {
      this.looks += 1;
      if (this.away) throw new Error('the database is away');
      return questions.map(({ callId, afterRow }) => ({
        callId,
        flight: this.flight,
        rows: this.rows.filter(({ number }) => number > afterRow),
      }));
    },
    end: async () => this.end,
  };
  readonly streams = new KeptStreams({
    store: this.store,
    call: async () => this.call,
    conversation: async () => conversation,
    logger: memoryLogger(),
    timing: { look: 5, decision: 60_000, away: 30 },
  });

  finish(status: CallRecord['status'], end: KeptEnd | null = ended(), more: Partial<CallRecord> = {}): void {
    this.call = { ...this.call, status, latencyMs: 9, timeToFirstTokenMs: 3, ...more };
    this.flight = null;
    this.end = end;
    if (status !== 'LOST') this.rows = [];
  }

  /** Reads to the end: its events, and how it ended. */
  async watch(after = 0): Promise<{ events: StreamEvent[]; error: any }> {
    const stream = await this.streams.open(streamIdOfCall(this.callId), viewer);
    const watching = new Subscriber(async (one) => one.attach(stream!), after);
    const events: StreamEvent[] = [];
    try {
      for await (const event of watching.events) events.push(event);
    } catch (error) {
      return { events, error };
    }
    return { events, error: null };
  }

  /** Waits until the database was asked so often once more. */
  async looked(times = 2): Promise<void> {
    const until = this.looks + times;
    while (this.looks < until) await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
let scene: Scene;
beforeEach(() => (scene = new Scene()));
afterEach(() => scene.streams.stop());
/** What the numbers of a stored answer say: everything up to its text; the end, of one without tool calls. */
const TEXT = 4;
const END = 6;
const terminal = (kept: number, after = kept): Partial<StreamEvent> => ({ fromSeq: after + 1, seq: kept + KEPT_GAP });

describe('a stream of a dead process', () => {
  it('is what was kept, then its end, numbered behind all that anybody may have seen', async () => {
    scene.rows = [row(1, 2, ['Half ', 'an ']), row(2, 4, ['ans'])];
    scene.finish('LOST');
    const { events } = await scene.watch();
    expect(events).toMatchObject([
      { kind: 'StreamStarted', seq: 1, conversation: { id: 'conv_1' } },
      { kind: 'TextDelta', text: 'Half an ans', fromSeq: 2, seq: 4 },
      {
        kind: 'StreamFailed',
        ...terminal(4),
        refusal: { code: 'STREAM_INTERRUPTED' },
        partial: { answer: { content: 'Half an ans', complete: false }, replayed: false },
      },
    ]);
    expect(await scene.watch()).toEqual({ events, error: null });
    expect((await scene.watch(3)).events).toMatchObject([{ text: 'ans', fromSeq: 4, seq: 4 }, terminal(4)]);
    // Who saw what was not kept gets the end alone, and who has that nothing.
    expect((await scene.watch(40)).events).toMatchObject([{ kind: 'StreamFailed', ...terminal(4, 40) }]);
    expect((await scene.watch(4 + KEPT_GAP)).events).toEqual([]);
  });

  it('of which nothing was kept is its beginning and its end', async () => {
    scene.finish('LOST');
    expect((await scene.watch()).events).toMatchObject([
      { kind: 'StreamStarted' },
      { kind: 'StreamFailed', ...terminal(1), partial: null },
    ]);
  });

  it('of which only its conversation has something any more is that, for who has nothing of it; others are told where it is', async () => {
    scene.finish('LOST', ended({ answer: answer('Half an ans', { complete: false }) }));
    expect((await scene.watch()).events.slice(1)).toMatchObject([
      { text: 'Half an ans', fromSeq: 2, seq: TOLD + TEXT },
      { kind: 'StreamFailed', partial: { answer: { id: 'msg_1', content: 'Half an ans' } } },
    ]);
    expect(await scene.watch(3)).toMatchObject({
      events: [],
      error: { code: 'NOT_FOUND', public: expect.stringContaining('msg_1') },
    });
  });

  it('keeps its viewers waiting until it is decided how its call ended', async () => {
    scene.flight = { stopReason: null, deadMs: 1_000 };
    const watching = scene.watch(7);
    await scene.looked();
    scene.rows = [row(1, 2, ['Half'])];
    await scene.looked();
    scene.finish('LOST', null);
    await scene.looked();
    scene.finish('LOST');
    expect(await watching).toMatchObject({
      events: [{ kind: 'StreamFailed', ...terminal(2, 7), partial: { call: { status: 'LOST' } } }],
      error: null,
    });
  });

  it('is told as interrupted also where its call cannot be ended yet, a minute behind the death', async () => {
    scene.flight = { stopReason: null, deadMs: 59_000 };
    scene.rows = [row(1, 2, ['Half'])];
    const watching = scene.watch();
    await scene.looked();
    scene.flight = { stopReason: null, deadMs: 60_000 };
    expect((await watching).events.at(-1)).toMatchObject({
      kind: 'StreamFailed',
      ...terminal(2),
      refusal: { code: 'STREAM_INTERRUPTED' },
    });
  });
});

describe('a stream of another process that lives', () => {
  it('comes as it is written down, then the rest of the stored answer in one piece, then the end', async () => {
    const watching = scene.watch();
    scene.rows = [row(1, 2, ['Half '])];
    await scene.looked();
    scene.rows = [...scene.rows, row(2, 3, ['an '])];
    await scene.looked();
    scene.finish('COMPLETED', ended({ answer: answer('Half an answer.') }));
    const { events } = await watching;
    expect(events.map(({ fromSeq, seq }) => [fromSeq, seq])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [4, TOLD + TEXT],
      [TOLD + TEXT + 1, TOLD + END],
    ]);
    expect(events.slice(3)).toMatchObject([
      { kind: 'TextDelta', text: 'answer.' },
      { kind: 'StreamCompleted', reply: { answer: { id: 'msg_1', content: 'Half an answer.' }, finishReason: 'STOP' } },
    ]);
  });

  it('is told on to the one who was told of its stored answer elsewhere, whatever of it was kept', async () => {
    const toolCalls = [{ toolCallId: 'a', name: 'f', arguments: '{}' }];
    scene.rows = [row(1, 2, ['Half '])];
    const watching = [TOLD + TEXT, TOLD + END + 2].map((after) => scene.watch(after));
    await scene.looked();
    scene.finish('COMPLETED', ended({ answer: answer('Half an answer.', { reasoning: 'Hm.', toolCalls }) }));
    const [call, end] = [
      { kind: 'ToolCallDelta', index: 0, ...toolCalls[0], seq: TOLD + END },
      { kind: 'StreamCompleted', seq: TOLD + END + 2 },
    ];
    expect((await watching[0]!).events).toMatchObject([
      { ...call, fromSeq: TOLD + TEXT + 1 },
      { ...end, fromSeq: TOLD + END + 1 },
    ]);
    expect(await watching[1]!).toEqual({ events: [], error: null });
    expect((await scene.watch(TOLD + 2)).events).toMatchObject([
      { text: 'Half an answer.', fromSeq: TOLD + 3 },
      call,
      end,
    ]);
    // Behind the reasoning and a part of the text: a number from which nobody else goes on.
    expect((await scene.watch(2)).events).toMatchObject([
      { text: 'Hm.', fromSeq: 3, seq: TOLD + 1 },
      { text: 'an answer.', fromSeq: TOLD + 2, seq: TOLD + TEXT },
      call,
      end,
    ]);
  });

  it('goes on with a tool call where it was', async () => {
    const rest = [
      { text: ' and more' },
      { kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: '1}' },
      { kind: 'ToolCallDelta', index: 1, toolCallId: 'b', name: 'g', arguments: '{}' },
    ];
    scene.rows = [{ ...row(1, 2, []), content: 'Text', tools: 'f{"a":', pieces: [4, ['T', 5, 0, 'a', 'f']] }];
    const watching = scene.watch();
    await scene.looked();
    scene.finish(
      'COMPLETED',
      ended({
        answer: answer('Text and more', {
          toolCalls: [
            { toolCallId: 'a', name: 'f', arguments: '{"a":1}' },
            { toolCallId: 'b', name: 'g', arguments: '{}' },
          ],
        }),
      }),
    );
    expect((await watching).events.slice(3, -1)).toMatchObject(rest);
  });

  it('is read on for the one who attaches late', async () => {
    const stream = (await scene.streams.open(streamIdOfCall(scene.callId), viewer))!;
    await scene.looked(10);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { looks } = scene;
    const watching = new Subscriber(async (one) => one.attach(stream), 1);
    const next = watching.events.next();
    await scene.looked();
    expect(scene.looks).toBeGreaterThan(looks);
    scene.finish('LOST');
    expect((await next).value).toMatchObject({ kind: 'StreamFailed' });
  });

  it('cannot be told to whoever saw more of it than was written down: the error says where the answer is', async () => {
    scene.rows = [row(1, 2, ['Half '])];
    const watching = scene.watch(9);
    await scene.looked();
    scene.finish('COMPLETED', ended({ answer: answer('Half an answer.') }));
    expect(await watching).toMatchObject({
      events: [],
      error: { code: 'NOT_FOUND', public: expect.stringContaining('message msg_1 of conversation conv_1') },
    });
  });

  it('whose answer was stored nowhere ends with an error, and not with an end that hides what is missing', async () => {
    scene.rows = [row(1, 2, ['Half '])];
    const watching = scene.watch();
    await scene.looked();
    scene.finish('COMPLETED');
    expect(await watching).toMatchObject({
      events: [{ kind: 'StreamStarted' }, { text: 'Half ' }],
      error: { code: 'NOT_FOUND', public: expect.stringContaining('not stored') },
    });
  });

  it('that was stopped, or has failed, ends as it did', async () => {
    scene.flight = { stopReason: 'CLIENT', deadMs: null };
    const watching = scene.watch();
    await scene.looked();
    scene.finish('STOPPED', ended({ finishReason: 'STOPPED', answer: answer('Ha', { complete: false }) }));
    expect((await watching).events.slice(1)).toMatchObject([
      { text: 'Ha' },
      { kind: 'StreamStopped', reason: 'CLIENT', reply: { finishReason: 'STOPPED' } },
    ]);
    scene.streams.stop();
    scene = new Scene();
    scene.finish('FAILED', ended(), {
      errorCode: 'UPSTREAM_TIMEOUT',
      timeToFirstTokenMs: null,
      usageSource: 'ESTIMATED',
    });
    expect((await scene.watch()).events.slice(1)).toMatchObject([
      { kind: 'StreamFailed', refusal: { code: 'UPSTREAM_TIMEOUT', retryable: false }, partial: null },
    ]);
    scene.streams.stop();
    scene = new Scene();
    scene.finish('FAILED', ended(), { errorCode: 'MODEL_UNAVAILABLE', timeToFirstTokenMs: null });
    expect((await scene.watch()).events.slice(1)).toMatchObject([
      { kind: 'StreamFailed', refusal: { code: 'UPSTREAM_FAILED', retryable: true }, partial: null },
    ]);
  });

  it('is read once for all who look at it, and not when nobody does', async () => {
    const watching = [scene.watch(), scene.watch(), scene.watch(1)];
    await scene.looked(3);
    scene.finish('LOST');
    await Promise.all(watching);
    const { looks } = scene;
    // That nothing happens has no event: several looks' time.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(scene.looks).toBe(looks);
  });

  it('sends its viewers away while the database is away for long, and when the server shuts down', async () => {
    const [first] = [scene.watch()];
    await scene.looked();
    scene.away = true;
    expect((await first).error).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    scene.away = false;
    const second = scene.watch();
    await scene.looked();
    scene.streams.stop();
    expect((await second).error).toMatchObject({ code: 'SERVICE_UNAVAILABLE', retryAfterMs: 1_000 });
  });
});
