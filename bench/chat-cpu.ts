import { median, micros, percentile, milliseconds, printGoals, printTable } from './lib/figures';
import {
  floorJson,
  isChatReply,
  isCompletion,
  isViewer,
  typicalChat,
  upstreamChat,
  viewerQuery,
  weirChat,
} from './lib/operations';
import { load, type RawReply } from './lib/raw-http';
import { withRig } from './lib/rig';
import type { ServerProcess } from './lib/processes';

/**
 * CPU of the server process per request, from /proc: hardly moved by a slow client or a busy neighbour, unlike requests
 * per second.
 */
const CONNECTIONS = 32;
const WARM_UP_MS = 3_000;
const WINDOW_MS = 4_000;
const ROUNDS = 3;

interface Candidate {
  name: string;
  server: ServerProcess;
  request: Buffer;
  check(reply: RawReply): boolean;
}
interface Figures {
  cpu: number;
  perSecond: number;
  p50: number;
  p99: number;
}

async function window({ server, request, check }: Candidate, durationMs: number): Promise<Figures> {
  const before = server.cpuMicros();
  const { requests, seconds, latenciesMs } = await load(server.port, request, {
    connections: CONNECTIONS,
    durationMs,
    check,
  });
  return {
    cpu: (server.cpuMicros() - before) / requests,
    perSecond: requests / seconds,
    p50: percentile(latenciesMs, 0.5),
    p99: percentile(latenciesMs, 0.99),
  };
}

async function compare(title: string, candidates: Candidate[], baseline: number): Promise<Figures[]> {
  for (const candidate of candidates) await window(candidate, WARM_UP_MS);
  const rounds = candidates.map(() => [] as Figures[]);
  for (let round = 0; round < ROUNDS; round += 1)
    for (const [index, candidate] of candidates.entries()) rounds[index]!.push(await window(candidate, WINDOW_MS));
  const figures = rounds.map((all) => {
    const of = (field: keyof Figures): number => median(all.map((figure) => figure[field]));
    return { cpu: of('cpu'), perSecond: of('perSecond'), p50: of('p50'), p99: of('p99') };
  });
  printTable(title, [
    ['', 'CPU each', `against ${candidates[baseline]!.name}`, 'per second', 'p50', 'p99'],
    ...candidates.map(({ name }, index) => {
      const { cpu, perSecond, p50, p99 } = figures[index]!;
      return [
        name,
        micros(cpu),
        `${(cpu / figures[baseline]!.cpu).toFixed(2)} ×`,
        perSecond.toFixed(0),
        milliseconds(p50),
        milliseconds(p99),
      ];
    }),
  ]);
  return figures;
}

void withRig(async (rig) => {
  const [weir, typical, floor] = [await rig.startWeir(), await rig.startTypical(), await rig.startFloor()];
  const [, own, plain] = await compare(
    `chat, ${CONNECTIONS} at once, ${ROUNDS} × ${WINDOW_MS / 1_000} s, commits durable`,
    [
      { name: 'bare http proxy', server: floor, request: upstreamChat(floor.port), check: isCompletion },
      { name: 'weir', server: weir, request: weirChat(weir.port, rig.token), check: isChatReply },
      { name: 'typical', server: typical, request: typicalChat(typical.port, rig.token), check: isChatReply },
    ],
    2,
  );
  const [bare, viewer] = await compare(
    'a trivial query (viewer { id role }), with authentication and limits',
    [
      { name: 'bare http', server: floor, request: floorJson(floor.port), check: isViewer },
      { name: 'weir', server: weir, request: viewerQuery(weir.port, rig.token), check: isViewer },
      { name: 'typical', server: typical, request: viewerQuery(typical.port, rig.token), check: isViewer },
    ],
    0,
  );
  console.log('');
  printGoals([
    { what: 'CPU per chat, typical / weir', value: plain!.cpu / own!.cpu, limit: 8, unit: '×', atLeast: true },
    { what: 'CPU per trivial query, weir / bare http', value: viewer!.cpu / bare!.cpu, limit: 3, unit: '×' },
  ]);
});
