import { Subscriber } from '../../../src/services/streams/subscriber';
import { Streams } from '../../../src/services/streams/streams';
import type { SharedLog } from '../../../src/services/streams/stream.types';
import type { DisconnectPolicy } from '../../../src/domain/stream-events';

const GRACE_MS = 30_000;
const owner = { userId: 'usr_1', organizationId: 'org_1' };

/** A process with streams that are watched elsewhere too, and no log beyond it that has to be waited for. */
function scene(options: { elsewhere?: () => number | null } = {}) {
  let left = (_streamId: string): void => {};
  const shared =
    options.elsewhere &&
    ({
      writer: () => null,
      viewersElsewhere: async () => options.elsewhere!(),
      onLeft: (listener: typeof left) => void (left = listener),
      flush: async () => {},
    } as unknown as SharedLog);
  const streams = new Streams({
    config: { graceMs: GRACE_MS, keptMs: 60_000, keptBytes: 1_000_000 },
    loopLoad: { current: 0 },
    shared: shared ?? null,
    kept: { open: async () => null },
  });
  const begin = (policy: DisconnectPolicy) => {
    const stop = jest.fn();
    const stream = streams.begin({ streamId: 'str_1', callId: 'call_1', viewer: owner, policy, stop });
    stream.add({ kind: 'StreamStarted', streamId: 'str_1', callId: 'call_1', model: 'm', conversation: null });
    return { stream, stop };
  };
  const watch = async (stream: ReturnType<typeof begin>['stream']): Promise<Subscriber> => {
    const viewer = new Subscriber(async (it) => it.attach(stream));
    await viewer.events.next();
    return viewer;
  };
  return { streams, begin, watch, left: () => left('str_1') };
}

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

it('GRACE begins when the last viewer goes, wherever that one was', async () => {
  let elsewhere = 0;
  const { streams, begin, watch, left } = scene({ elsewhere: () => elsewhere });
  const { stream, stop } = begin('GRACE');
  const phone = await watch(stream);
  await phone.events.return();
  await jest.advanceTimersByTimeAsync(1_000);
  elsewhere = 1;
  await jest.advanceTimersByTimeAsync(58_000);
  elsewhere = 0;
  left();
  await jest.advanceTimersByTimeAsync(GRACE_MS - 1_000);
  expect(stop).not.toHaveBeenCalled();
  await jest.advanceTimersByTimeAsync(1_000);
  expect(stop).toHaveBeenCalledWith('DISCONNECT');
  streams.stop();
});

it('who could not be counted for a while has the whole time of GRACE from then on', async () => {
  let elsewhere: number | null = null;
  const { streams, begin, watch } = scene({ elsewhere: () => elsewhere });
  const { stream, stop } = begin('GRACE');
  await (await watch(stream)).events.return();
  await jest.advanceTimersByTimeAsync(GRACE_MS - 10);
  elsewhere = 0;
  await jest.advanceTimersByTimeAsync(GRACE_MS);
  expect(stop).not.toHaveBeenCalled();
  await jest.advanceTimersByTimeAsync(GRACE_MS);
  expect(stop).toHaveBeenCalledWith('DISCONNECT');
  streams.stop();
});

it.each([[0], [null]])('CANCEL stops at once when %s look elsewhere', async (elsewhere) => {
  const { streams, begin, watch } = scene({ elsewhere: () => elsewhere });
  const { stream, stop } = begin('CANCEL');
  await (await watch(stream)).events.return();
  await jest.advanceTimersByTimeAsync(0);
  expect(stop).toHaveBeenCalledWith('DISCONNECT');
  streams.stop();
});

it('a stream that has ended holds nothing of its call but its events', () => {
  const { streams, begin } = scene();
  const { stream, stop } = begin('CONTINUE');
  stream.end({ kind: 'StreamRefused', refusal: {} as never });
  expect(streams.find('str_1')).toBe(stream);
  expect(stream.owner!.stop).not.toBe(stop);
  streams.stop();
});
