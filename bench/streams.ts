import os from 'node:os';
import { median, milliseconds, percentile, printGoals, printTable, type Goal } from './lib/figures';
import type { ServerProcess } from './lib/processes';
import { withRig } from './lib/rig';
import { directStream, weirStream, type StreamRun } from './lib/stream-clients';
import { measure, type Outcome, type Shape } from './lib/stream-load';
import { resumes, stops } from './lib/stream-moments';

/**
 * Many people read at once, through one core: fast models, many streams, very many. `--quick`: a tenth of the streams,
 * to see that it runs.
 */
const SHARE = process.argv.includes('--quick') ? 10 : 1;
const FAST: Shape = { streams: 200 / SHARE, tokens: 1_000, perSecond: 100, startsPerSecond: 100 };
const MANY: Shape = { streams: 1_000 / SHARE, tokens: 200, perSecond: 20, startsPerSecond: 250 };
const MOST: Shape = { streams: 3_000 / SHARE, tokens: 100, perSecond: 10, startsPerSecond: 300 };
const LONG = 'stream-4000-1000-10';

interface Candidate {
  name: string;
  start: (model: string) => StreamRun;
  server: ServerProcess | null;
}

const loadNow = (): string => os.loadavg()[0]!.toFixed(1);

async function warmUp({ start }: Candidate): Promise<void> {
  for (let round = 0; round < 3; round += 1)
    await Promise.all(Array.from({ length: 60 }, () => start('stream-20-50-10').result));
}

/** All candidates under the same load, one after another; times are told as what is added to those of the first. */
async function compare(shape: Shape, candidates: readonly Candidate[]): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  for (const candidate of candidates)
    outcomes.set(candidate.name, await measure(shape, candidate.start, candidate.server));
  const reference = [...outcomes.values()][0]!;
  const relay = outcomes.get('TCP relay')?.cpuPerToken;
  printTable(
    `${shape.streams} streams × ${shape.perSecond} tokens/s, ${shape.startsPerSecond} starts/s; load now ${loadNow()}`,
    [
      [
        '',
        'CPU per token',
        '× relay',
        'core',
        'first token added p50',
        'p99',
        'token age p50',
        'p99',
        'KB per stream',
        'lost',
        'reordered',
        'unfinished',
      ],
      ...[...outcomes].map(([name, outcome]) => [
        name,
        ...(outcome.cpuPerToken
          ? [
              `${outcome.cpuPerToken.toFixed(1)} µs`,
              relay ? (outcome.cpuPerToken / relay).toFixed(2) : '-',
              `${(outcome.busy * 100).toFixed(0)} %`,
            ]
          : ['-', '-', '-']),
        milliseconds(outcome.firstP50 - reference.firstP50),
        milliseconds(outcome.firstP99 - reference.firstP99),
        milliseconds(outcome.ageP50),
        milliseconds(outcome.ageP99),
        outcome.residentPerStream ? (outcome.residentPerStream / 1_024).toFixed(0) : '-',
        String(outcome.lost),
        String(outcome.reordered),
        String(outcome.unfinished),
      ]),
    ],
  );
  return outcomes;
}

const broken = ({ lost, reordered, unfinished }: Outcome): number => lost + reordered + unfinished;

void withRig(async (rig) => {
  let reader = 0;
  const through =
    ({ port }: ServerProcess) =>
    (model: string): StreamRun =>
      weirStream(port, rig.tokens[(reader += 1) % rig.tokens.length]!, model);
  const redis = process.env.REDIS_URL;
  const [weir, unjoined, relay, typical] = [
    await rig.startWeir(),
    await rig.startWeir({ env: { STREAM_JOIN_MS: '0' } }),
    await rig.startRelay(),
    await rig.startTypicalStreams(),
  ];
  const direct: Candidate = {
    name: 'upstream, directly',
    start: (model) => directStream(rig.upstreamPort, model),
    server: null,
  };
  const floor: Candidate = { name: 'TCP relay', start: (model) => directStream(relay.port, model), server: relay };
  const own: Candidate = { name: 'weir', start: through(weir), server: weir };
  const each: Candidate = { name: 'weir, each token by itself', start: through(unjoined), server: unjoined };
  const baseline: Candidate = { name: 'typical', start: through(typical), server: typical };
  for (const candidate of [floor, own, each, baseline]) await warmUp(candidate);

  const fast = await compare(FAST, [direct, floor, own, each, baseline]);
  const many = await compare(MANY, [direct, floor, own]);
  const most = await compare(MOST, [direct, floor, own]);
  const ratio = (of: Map<string, Outcome>, name: string, to: string): number =>
    of.get(name)!.cpuPerToken / of.get(to)!.cpuPerToken;
  const [reference, manyOwn, mostReference, mostOwn] = [
    many.get(direct.name)!,
    many.get('weir')!,
    most.get(direct.name)!,
    most.get('weir')!,
  ];

  const resumed = await resumes(weir.port, weir.port, rig.token, LONG, 30);
  let shared: number[] | null = null;
  if (redis) {
    const [owner, other] = [
      await rig.startWeir({ env: { REDIS_URL: redis } }),
      await rig.startWeir({ env: { REDIS_URL: redis } }),
    ];
    shared = await resumes(owner.port, other.port, rig.token, LONG, 30);
  }
  const running = 1_000 / SHARE;
  const stopped = await stops(
    weir.port,
    rig.upstreamPort,
    rig.tokens,
    'stream-400-20-200',
    running,
    Math.min(200, running / 2),
  );
  printTable(`Moments; load now ${loadNow()}`, [
    ['', 'p50', 'p99'],
    [
      'resume of 4,000 tokens to the last event, the same process',
      milliseconds(median(resumed)),
      milliseconds(percentile(resumed, 0.99)),
    ],
    ...(shared
      ? [
          [
            'the same from another replica, by Redis',
            milliseconds(median(shared)),
            milliseconds(percentile(shared, 0.99)),
          ],
        ]
      : []),
    [
      `stop → upstream closed, ${running} streams running`,
      milliseconds(median(stopped)),
      milliseconds(percentile(stopped, 0.99)),
    ],
  ]);

  const { inFlight } = await rig.countCalls();
  const goals: Goal[] = [
    {
      what: `CPU per token to the relay, each by itself, ${FAST.streams} × ${FAST.perSecond}/s`,
      value: ratio(fast, each.name, floor.name),
      limit: 1.7,
      unit: '×',
    },
    { what: 'the same, joined', value: ratio(fast, 'weir', floor.name), limit: 1.2, unit: '×' },
    {
      what: 'CPU per token of `typical` to ours',
      value: ratio(fast, 'typical', 'weir'),
      limit: 2,
      unit: '×',
      atLeast: true,
    },
    {
      what: `CPU per token to the relay, ${MANY.streams} × ${MANY.perSecond}/s`,
      value: ratio(many, 'weir', floor.name),
      limit: 2.2,
      unit: '×',
    },
    {
      what: `first token added, ${MANY.streams} streams, p50`,
      value: manyOwn.firstP50 - reference.firstP50,
      limit: 2,
      unit: 'ms',
    },
    { what: 'the same, p99', value: manyOwn.firstP99 - reference.firstP99, limit: 25, unit: 'ms' },
    {
      what: `first token added, ${MOST.streams} streams, p50`,
      value: mostOwn.firstP50 - mostReference.firstP50,
      limit: 5,
      unit: 'ms',
    },
    { what: 'the same, p99', value: mostOwn.firstP99 - mostReference.firstP99, limit: 100, unit: 'ms' },
    {
      what: 'memory per stream, its viewer included',
      value: manyOwn.residentPerStream / 1_024,
      limit: 100,
      unit: 'KB',
    },
    { what: 'resume of 4,000 tokens, p50', value: median(resumed), limit: 10, unit: 'ms' },
    ...(shared ? [{ what: 'the same by Redis, p50', value: median(shared), limit: 30, unit: 'ms' }] : []),
    { what: 'stop → upstream closed, p99', value: percentile(stopped, 0.99), limit: 100, unit: 'ms' },
    {
      what: 'tokens lost or reordered, streams unfinished',
      value: [fast.get('weir')!, fast.get(each.name)!, manyOwn, mostOwn].reduce(
        (sum, outcome) => sum + broken(outcome),
        0,
      ),
      limit: 0,
      unit: '',
    },
    { what: 'calls in flight at the end', value: inFlight, limit: 0, unit: '' },
  ];
  printGoals(goals);
  if (!redis) console.log('  REDIS_URL is not set: the resume by Redis was not measured.');
});
