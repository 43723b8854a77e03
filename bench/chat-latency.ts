import { milliseconds, median, percentile, printGoals, printTable } from './lib/figures';
import { isChatReply, isCompletion, typicalChat, upstreamChat, weirChat } from './lib/operations';
import { RawConnection, type RawReply } from './lib/raw-http';
import { withRig } from './lib/rig';

/** What `chat` adds to the upstream's own time, one call at a time, with both commits durable. */
const WARM_UP = 1_000;
const ROUNDS = 5;
const CALLS = 600;

interface Figure {
  p50: number;
  p99: number;
}
interface Candidate {
  name: string;
  once(): Promise<void>;
  close(): void;
}

async function server(
  name: string,
  port: number,
  request: Buffer,
  check: (reply: RawReply) => boolean,
): Promise<Candidate> {
  const connection = await RawConnection.open(port);
  const once = async (): Promise<void> => {
    const reply = await connection.send(request);
    if (!check(reply)) throw new Error(`not the expected reply: ${reply.status} ${reply.body.slice(0, 500)}`);
  };
  return { name, once, close: () => connection.close() };
}

async function measure({ once }: Candidate, calls: number): Promise<number[]> {
  const samples: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const before = performance.now();
    await once();
    samples.push(performance.now() - before);
  }
  return samples;
}

void withRig(async (rig) => {
  // While one is measured the others wait and cost nothing.
  const [weir, typical, floor] = [await rig.startWeir(), await rig.startTypical(), await rig.startFloor()];
  const committer = await rig.openCommitter();
  const upstream = upstreamChat(rig.upstreamPort);
  const candidates = [
    await server('upstream, directly', rig.upstreamPort, upstream, isCompletion),
    await server('bare http proxy (floor)', floor.port, upstream, isCompletion),
    {
      name: 'two durable commits alone',
      once: async () => (await committer.commit(), committer.commit()),
      close: () => void committer.close(),
    },
    await server('weir', weir.port, weirChat(weir.port, rig.token), isChatReply),
    await server('typical', typical.port, typicalChat(typical.port, rig.token), isChatReply),
  ];
  for (const candidate of candidates) await measure(candidate, WARM_UP);
  const rounds = candidates.map(() => [] as number[][]);
  for (let round = 0; round < ROUNDS; round += 1)
    for (const [index, candidate] of candidates.entries()) rounds[index]!.push(await measure(candidate, CALLS));

  // p50: median of the rounds. p99: of all samples, so that no bad moment is averaged away.
  const figures = rounds.map((samples) => ({
    p50: median(samples.map((round) => percentile(round, 0.5))),
    p99: percentile(samples.flat(), 0.99),
  }));
  for (const candidate of candidates) candidate.close();
  const [direct, , , own, other] = figures as [Figure, Figure, Figure, Figure, Figure];
  const added = (figure: Figure): Figure => ({ p50: figure.p50 - direct.p50, p99: figure.p99 - direct.p99 });
  printTable(`chat, one at a time, ${ROUNDS} × ${CALLS} calls, both commits durable (fsync on)`, [
    ['', 'p50', 'p99', 'added p50', 'added p99', 'typical / this, added p50'],
    ...candidates.map(({ name }, index) => {
      const figure = figures[index]!;
      return [
        name,
        milliseconds(figure.p50),
        milliseconds(figure.p99),
        milliseconds(added(figure).p50),
        milliseconds(added(figure).p99),
        index < 3 ? '' : `${(added(other).p50 / added(figure).p50).toFixed(1)} ×`,
      ];
    }),
  ]);
  printGoals([
    { what: 'added p50', value: added(own).p50, limit: 1, unit: 'ms' },
    { what: 'added p99', value: added(own).p99, limit: 4, unit: 'ms' },
  ]);
  const counted = await rig.countCalls();
  console.log(
    `  rows: ${counted.settled} usage rows for ${WARM_UP + ROUNDS * CALLS} calls, ${counted.inFlight} in flight`,
  );
});
