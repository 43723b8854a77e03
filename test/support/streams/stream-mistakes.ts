import type { Mistake } from './stream-lane';

const STREAMS = 'src/services/streams';
const PIPELINE = 'src/services/pipeline';

/** What the schedules have to find: each is built into the replicas in turn. */
export const MISTAKES: (Mistake & { name: string })[] = [
  {
    name: 'a viewer skips a piece',
    file: `${STREAMS}/subscriber.ts`,
    remedy: 'this.after = event.seq;',
    mistake: 'this.after = event.seq + (event.seq % 11 === 0 ? 1 : 0);',
  },
  {
    name: 'a resume begins one piece early',
    file: `${PIPELINE}/pipeline.ts`,
    remedy: 'watching.attach(stream), afterSeq)',
    mistake: 'watching.attach(stream), Math.max(0, afterSeq - 1))',
  },
  {
    name: 'a resume begins one piece late',
    file: `${PIPELINE}/pipeline.ts`,
    remedy: 'watching.attach(stream), afterSeq)',
    mistake: 'watching.attach(stream), afterSeq + 1)',
  },
  {
    name: 'the end is written twice',
    file: `${STREAMS}/live-stream.ts`,
    remedy: 'this.log.append(event);\n    this.log.compact();',
    mistake: 'this.log.append(event);\n    this.log.append(event);\n    this.log.compact();',
  },
  {
    name: 'joined text loses the last piece of a run',
    file: `${STREAMS}/piece-log.ts`,
    remedy: 'text += more.text;',
    mistake: 'text += more.text.slice(0, -1);',
  },
  {
    name: 'who comes late gets only what comes',
    file: `${STREAMS}/subscriber.ts`,
    remedy: 'this.stream = stream;\n',
    mistake: 'this.stream = stream;\n    this.after ||= Math.max(0, stream.lastSeq - 1);\n',
  },
  {
    name: 'a repeated subscription asks the upstream again',
    file: `${PIPELINE}/pipeline.ts`,
    remedy: 'key === null ? null : { key, inputHash',
    mistake: 'key === null ? null : { key: key + Math.random(), inputHash',
  },
];
