import { AbortableIterator } from '../../src/lib/abortable-iterator';
import { joinEvents, LiveStream } from '../../src/services/chat/6-stream';
import type { ChatEvent } from '../../src/services/chat/chat.types';

function viewerOf(stream: LiveStream): AbortableIterator<ChatEvent> {
  const viewer: AbortableIterator<ChatEvent> = new AbortableIterator<ChatEvent>({ start: () => stream.attach(viewer), onLeave: () => stream.leave(viewer) }, joinEvents);
  return viewer;
}
const started = { kind: 'StreamStarted' as const, streamId: 's', callId: 'c', model: 'm', conversation: null };
const refused = { kind: 'StreamRefused' as const, refusal: {} as never };
async function rest(viewer: AbortableIterator<ChatEvent>): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for await (const event of viewer) events.push(event);
  return events;
}

describe('LiveStream', () => {
  it('numbers every piece without a gap, joined or not, and ends with one terminal event', async () => {
    const stream = new LiveStream(() => undefined);
    const viewer = viewerOf(stream);
    const first = viewer.next();
    stream.start(started);
    for (const text of ['a', 'b', 'c']) stream.piece({ kind: 'TextDelta', text });
    stream.piece({ kind: 'ReasoningDelta', text: 'hm' });
    stream.piece({ kind: 'ToolCallDelta', index: 0, toolCallId: 't', name: 'f', arguments: '{' });
    stream.piece({ kind: 'ToolCallDelta', index: 0, toolCallId: null, name: null, arguments: '}' });
    stream.end(refused);
    stream.end(refused);
    const events = [(await first).value as ChatEvent, ...(await rest(viewer))];
    let seq = 0;
    for (const event of events) {
      expect(event.fromSeq).toBe(seq + 1);
      seq = event.seq;
    }
    expect(seq).toBe(8);
    expect(events.map((e) => e.kind)).toEqual(['StreamStarted', 'TextDelta', 'ReasoningDelta', 'ToolCallDelta', 'StreamRefused']);
    expect(events.map((e) => ('text' in e ? e.text : 'arguments' in e ? e.arguments : '')).join('')).toBe('abchm{}');
  });

  it('gives the first token at once and joins what follows within the same moment', async () => {
    const stream = new LiveStream(() => undefined);
    const viewer = viewerOf(stream);
    const first = viewer.next();
    stream.start(started);
    await first;
    const token = viewer.next();
    stream.piece({ kind: 'TextDelta', text: 'one' });
    expect((await token).value).toMatchObject({ text: 'one', fromSeq: 2, seq: 2 });
    const joined = viewer.next();
    stream.piece({ kind: 'TextDelta', text: 'two' });
    stream.piece({ kind: 'TextDelta', text: 'three' });
    expect((await joined).value).toMatchObject({ text: 'twothree', fromSeq: 3, seq: 4 });
  });

  it('makes fewer frames where the process is busy, and still hands the first token on at once', async () => {
    const load = { current: 0.95 };
    const stream = new LiveStream(() => undefined, load);
    const viewer = viewerOf(stream);
    const first = viewer.next();
    stream.start(started);
    await first;
    const token = viewer.next();
    stream.piece({ kind: 'TextDelta', text: '1' });
    expect((await token).value).toMatchObject({ text: '1' });
    const at = performance.now();
    const joined = viewer.next();
    stream.piece({ kind: 'TextDelta', text: '2' });
    expect((await joined).value).toMatchObject({ text: '2' });
    expect(performance.now() - at).toBeGreaterThan(60);
  });

  it('gives a viewer that attaches later the whole log', async () => {
    const stream = new LiveStream(() => undefined);
    stream.start(started);
    stream.piece({ kind: 'TextDelta', text: 'a' });
    const viewer = viewerOf(stream);
    const first = viewer.next();
    stream.end(refused);
    expect((await first).value).toMatchObject({ kind: 'StreamStarted', seq: 1 });
    expect((await rest(viewer)).map((e) => e.seq)).toEqual([2, 3]);
  });

  it('says that it is abandoned when the last viewer leaves, once, and not after its end', async () => {
    let abandoned = 0;
    const stream = new LiveStream(() => (abandoned += 1));
    const [one, two] = [viewerOf(stream), viewerOf(stream)];
    void one.next();
    void two.next();
    await one.return();
    expect(abandoned).toBe(0);
    await two.return();
    await two.return();
    expect(abandoned).toBe(1);
    const ended = new LiveStream(() => (abandoned += 1));
    const late = viewerOf(ended);
    void late.next();
    ended.end(refused);
    await late.return();
    expect(abandoned).toBe(1);
  });
});
