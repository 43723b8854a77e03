import { Random } from '../ledger/random';
import type { Answer, Piece } from '../provider-script';

/** What happens to a viewer's connection. OUTAGE is that of its whole network. */
export type Trouble =
  /** The connection dies, at both ends. */
  | 'CUT'
  /** Nothing passes any more and nobody notices, until it dies. */
  | 'FREEZE'
  /** `complete`, as frameworks send when they unmount. */
  | 'LEAVE'
  /** It does not read for a while. */
  | 'SLOW';
export interface Move {
  /** When it has seen this number. */ atSeq: number;
  trouble: Trouble;
  /** Milliseconds until it is back. */ awayMs: number;
}
export interface ViewerPlan {
  /** It comes when some viewer has seen this number; 0: it asks the question. */
  comesAtSeq: number;
  /** By the idempotency key, as a repeated subscription; else by the id of the stream, as another device. */
  byKey: boolean;
  moves: Move[];
  /** It goes for good at this number; null: it stays to the end. */
  goesAtSeq: number | null;
  /** When all is over it reads again from somewhere. */
  readsAgain: boolean;
}
export interface StreamPlan {
  /** The id of its model and its idempotency key: what the upstream was asked is counted by it. */
  label: string;
  answer: Answer & { pieces: Piece[] };
  policy: 'GRACE' | 'CONTINUE' | 'CANCEL';
  progress: boolean;
  viewers: ViewerPlan[];
  /** Somebody stops it when some viewer has seen this number. */
  stopAtSeq: number | null;
}
export interface SchedulePlan {
  seed: number;
  streams: StreamPlan[];
  /** A replica dies when so many pieces have been seen, of all streams together. */
  kill: { atPieces: number; replica: number } | null;
  /** A network is away for a while. */
  outage: { atPieces: number; network: number; awayMs: number } | null;
}

export const STREAMS_PER_SCHEDULE = 5;
export const NETWORKS = 2;

const WORDS = [
  'the',
  'Grünfläche',
  '草',
  'は',
  '👩‍👩‍👧',
  '🇪🇺',
  'e\u0301',
  '"',
  '\\',
  '\n\n',
  '\t',
  '<b>',
  '\u2028',
  'Ωmega',
  '{"a":',
  ' ',
  'x'.repeat(300),
];

/** The same for the same seed. `labelFrom`: number of its first label. */
export function planSchedule(seed: number, labelFrom: number, replicas: number): SchedulePlan {
  const random = new Random(seed);
  const streams = Array.from({ length: STREAMS_PER_SCHEDULE }, (_, index) =>
    planStream(random, `s-${labelFrom + index}`),
  );
  const pieces = Math.ceil(streams.reduce((sum, { answer }) => sum + answer.pieces.length, 0) * 0.7);
  return {
    seed,
    streams,
    // A new process takes as long as all the rest.
    kill: seed % 2 === 0 ? { atPieces: random.int(1, pieces), replica: random.int(0, replicas - 1) } : null,
    outage: random.chance(0.4)
      ? { atPieces: random.int(1, pieces), network: random.int(0, NETWORKS - 1), awayMs: random.int(20, 600) }
      : null,
  };
}

function planStream(random: Random, label: string): StreamPlan {
  const answer = planAnswer(random);
  const last = answer.pieces.length + 1;
  const seqs = (most: number): number[] =>
    random
      .some(
        Array.from({ length: last }, (_, i) => i + 1),
        most,
      )
      .sort((a, b) => a - b);
  const viewers = Array.from({ length: random.pick([1, 1, 2, 3]) }, (_, index): ViewerPlan => ({
    comesAtSeq: index === 0 ? 0 : random.int(1, last),
    byKey: index === 0 || random.chance(0.4),
    moves: seqs(random.pick([0, 1, 2, 4])).map((atSeq) => ({
      atSeq,
      trouble: random.pick<Trouble>(['CUT', 'CUT', 'FREEZE', 'LEAVE', 'SLOW']),
      awayMs: random.pick([0, 5, 40, 150, 600]),
    })),
    goesAtSeq: random.chance(0.12) ? random.int(1, last) : null,
    readsAgain: random.chance(0.5),
  }));
  return {
    label,
    answer,
    policy: random.pick(['GRACE', 'GRACE', 'CONTINUE', 'CONTINUE', 'CANCEL']),
    progress: random.chance(0.2),
    viewers,
    stopAtSeq: random.chance(0.2) ? random.int(1, last) : null,
  };
}

function planAnswer(random: Random): Answer & { pieces: Piece[] } {
  const count = random.pick([3, 30, 80, 150]);
  const thinks = random.chance(0.3) ? random.int(1, Math.ceil(count / 2)) : 0;
  const calls = random.chance(0.15);
  const word = (): string => random.pick(WORDS) + String(random.int(0, 99));
  const pieces: Piece[] = Array.from({ length: count }, (_, i): Piece => {
    if (i < thinks) return { reasoning: word() };
    if (calls && i >= count - 3)
      return {
        toolCall:
          i === count - 3
            ? { index: 0, id: 'call_1', name: 'look', arguments: '{"q":' }
            : { index: 0, arguments: i === count - 2 ? '"grass' : '"}' },
      };
    return word();
  });
  const fault = random.chance(0.2) ? random.pick(['cutAfter', 'endAfter', 'errorAfter'] as const) : null;
  const after = random.int(1, count - 1);
  return {
    pieces,
    pieceMs: random.pick([1, 2, 5, 10]),
    // Characters are split between writes, at any byte.
    ...(random.chance(0.3)
      ? { wire: { writeBytes: random.int(20, 90), lineEnd: random.pick(['\n', '\r\n'] as const) } }
      : {}),
    ...(fault === 'errorAfter'
      ? {
          errorAfter: {
            pieces: after,
            error: { message: 'The server had an error', type: 'server_error', code: null },
          },
        }
      : fault
        ? { [fault]: after }
        : {}),
  };
}
