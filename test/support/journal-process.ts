import { Journal } from '../../src/services/recovery/journal';
import { callEnd } from './call-ends';

/**
 * Arguments: home, number, count. Writes so many ends into a journal and replays what it finds there meanwhile, then
 * tells what it has settled. With a count of 0: writes without end, ten at a time, and tells each that is kept.
 */
async function main(home: string, nr: string, count: number): Promise<void> {
  let errors = 0;
  const settled = new Set<string>();
  const logger = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: () => void (errors += 1),
    child: () => logger,
  };
  const journal = new Journal({ home, database: 'test', logger });
  await journal.open();
  let next = 0;
  const write = async (): Promise<string> => {
    const end = callEnd({ id: `call_${nr}_${String(next++).padStart(3, '0')}` });
    await journal.write([end]);
    return end.id;
  };
  const keepWriting = async (): Promise<never> => {
    for (;;) process.send!(await write());
  };
  if (count === 0) await Promise.all(Array.from({ length: 10 }, keepWriting));

  const replay = (): Promise<number> => journal.replay(async (ends) => ends.forEach(({ id }) => settled.add(id)));
  while (next < count) await Promise.all([write(), next % 3 === 0 ? replay() : null]);
  await replay();
  process.send!({ settled: [...settled], errors });
}

void main(process.argv[2]!, process.argv[3]!, Number(process.argv[4]));
