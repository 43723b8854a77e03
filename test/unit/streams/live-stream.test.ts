import { fixedStream, joinMs, LiveStream } from '../../../src/services/streams/live-stream';
import { Subscriber } from '../../../src/services/streams/subscriber';
import type { ViewedStream } from '../../../src/services/streams/stream.types';
import { TOLD } from '../../../src/services/streams/told-answer';
import type { StreamEvent } from '../../../src/domain/stream-events';

const viewerOf = (stream: ViewedStream, after = 0): Subscriber =>
  new Subscriber(async (viewer) => viewer.attach(stream), after);
const started = { kind: 'StreamStarted' as const, streamId: 's', callId: 'c', model: 'm', conversation: null };
const refused = { kind: 'StreamRefused' as const, refusal: {} as never };
const live = (more: Partial<ConstructorParameters<typeof LiveStream>[0]> = {}): LiveStream =>
  new LiveStream({ owner: null, ...more });
async function rest({ events }: Subscriber): Promise<StreamEvent[]> {
  const all: StreamEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}
const textOf = (events: StreamEvent[]): string =>
  events.map((e) => ('text' in e ? e.text : 'arguments' in e ? e.arguments : '')).join('');

describe('LiveStream', () => {
  it('numbers every piece without a gap, joined or not, and ends with one terminal event', async () => {
    const stream = live();
    const viewer = viewerOf(stream);
    const first = viewer.events.next();
    stream.add(started);
    for (const text of ['a', 'b', 'c']) stream.add({ kind: 'TextDelta', text });
    stream.add({ kind: 'ReasoningDelta', text: 'hm' });
    stream.add({ kind: 'ToolCallDelta', index: 0, toolCallId: 't', name: 'f', arguments: '{' });
    stream.add({ kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: '}' });
    stream.end(refused);
    stream.end(refused);
    const events = [(await first).value as StreamEvent, ...(await rest(viewer))];
    let seq = 0;
    for (const event of events) {
      expect(event.fromSeq).toBe(seq + 1);
      seq = event.seq;
    }
    expect(seq).toBe(8);
    expect(events.map((e) => e.kind)).toEqual([
      'StreamStarted',
      'TextDelta',
      'ReasoningDelta',
      'ToolCallDelta',
      'StreamRefused',
    ]);
    expect(textOf(events)).toBe('abchm{}');
  });

  it('gives the first token at once and joins what follows within the same moment', async () => {
    const stream = live();
    const viewer = viewerOf(stream);
    const first = viewer.events.next();
    stream.add(started);
    await first;
    const token = viewer.events.next();
    stream.add({ kind: 'TextDelta', text: 'one' });
    expect((await token).value).toMatchObject({ text: 'one', fromSeq: 2, seq: 2 });
    const joined = viewer.events.next();
    stream.add({ kind: 'TextDelta', text: 'two' });
    stream.add({ kind: 'TextDelta', text: 'three' });
    expect((await joined).value).toMatchObject({ text: 'twothree', fromSeq: 3, seq: 4 });
  });

  it('makes fewer frames where the process is busy', () => {
    expect([0, 0.7, 0.95].map((load) => joinMs(load))).toEqual([20, 60, 120]);
  });

  it('gives every viewer the whole stream, whenever it came, and the rest behind a number to one that has the beginning', async () => {
    const stream = live();
    stream.add(started);
    for (const text of ['a', '\ud83d', '\ude00', 'b']) stream.add({ kind: 'TextDelta', text });
    const early = rest(viewerOf(stream));
    const middle = rest(viewerOf(stream, 3));
    stream.add({ kind: 'TextDelta', text: 'c' });
    stream.end(refused);
    const late = rest(viewerOf(stream));
    expect([textOf(await early), textOf(await late)]).toEqual(['a😀bc', 'a😀bc']);
    expect(textOf(await middle)).toBe('\ude00bc');
    expect((await middle)[0]!.fromSeq).toBe(4);
    expect(await rest(viewerOf(stream, 7))).toEqual([]);
  });

  it('tells when the first viewer comes and the last one goes, until it has ended', async () => {
    const watched: boolean[] = [];
    const stream = live({ onWatched: (is) => watched.push(is) });
    stream.add(started);
    const [a, b] = [viewerOf(stream), viewerOf(stream)];
    await Promise.all([a.events.next(), b.events.next()]);
    await a.events.return();
    expect(watched).toEqual([true]);
    await b.events.return();
    expect(watched).toEqual([true, false]);
    const c = viewerOf(stream);
    await c.events.next();
    stream.end(refused);
    await c.events.return();
    expect(watched).toEqual([true, false, true]);
  });

  it('counts a viewer that had left before it could attach as one that came and went', async () => {
    const watched: boolean[] = [];
    const stream = live({ onWatched: (is) => watched.push(is) });
    let admitted!: () => void;
    const viewer = new Subscriber((it) => new Promise((resolve) => (admitted = () => resolve(it.attach(stream)))));
    void viewer.events.next();
    await viewer.events.return();
    expect(viewer.signal.aborted).toBe(true);
    admitted();
    expect(watched).toEqual([true, false]);
  });

  it('goes on for the one who was told the stored answer elsewhere, when it has ended itself', async () => {
    const stream = live();
    const reply = {
      answer: { content: 'abc', reasoning: 'hm', toolCalls: [{ toolCallId: 't', name: 'f', arguments: '{}' }] },
    } as never;
    const early = rest(viewerOf(stream, TOLD + 4));
    stream.add(started);
    for (const text of ['a', 'b', 'c']) stream.add({ kind: 'TextDelta', text });
    stream.end({ kind: 'StreamCompleted', reply });
    const behindText = [
      { kind: 'ToolCallDelta', arguments: '{}', fromSeq: TOLD + 5, seq: TOLD + 6 },
      { kind: 'StreamCompleted', fromSeq: TOLD + 7, seq: TOLD + 8 },
    ];
    expect(await early).toMatchObject(behindText);
    expect(await rest(viewerOf(stream, TOLD + 4))).toMatchObject(behindText);
    expect(await rest(viewerOf(stream, TOLD + 2))).toMatchObject([
      { kind: 'TextDelta', text: 'abc', fromSeq: TOLD + 3, seq: TOLD + 4 },
      ...behindText,
    ]);
    expect(await rest(viewerOf(stream, TOLD + 8))).toEqual([]);
    expect(await rest(viewerOf(stream, stream.lastSeq))).toEqual([]);
  });

  it('tells what is over before it began', async () => {
    expect(
      (await rest(viewerOf(fixedStream([started, { kind: 'TextDelta', text: 'x' }, refused])))).map(({ kind, seq }) => [
        kind,
        seq,
      ]),
    ).toEqual([
      ['StreamStarted', 1],
      ['TextDelta', 2],
      ['StreamRefused', 3],
    ]);
  });
});
