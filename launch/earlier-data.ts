import fs from 'node:fs';
import path from 'node:path';
import type { EarlierRelease } from '../src/database/earlier-release';

/**
 * Moves the Postgres of an earlier release out of the way (`postgres.old`, `postgres.old.2`, …), and what its journal
 * still holds (`journal.old/<installation>`). Nothing is deleted and nothing is opened; the server has to be stopped.
 * Gives what a person should know.
 *
 * The journal goes first. After a kill between the two the next start finds the old database still in its place, and
 * moves the rest; the other way around it would find an empty folder, and the journal would stay for ever beside a
 * database that it does not belong to.
 */
export function keepAside(home: string, { release, installation }: EarlierRelease): string[] {
  const postgres = path.join(home, 'postgres');
  const journal = installation === null ? null : keepJournal(home, installation);
  const kept = freeName(`${postgres}.old`);
  fs.renameSync(postgres, kept);
  return [
    `${postgres} had the data of Weir ${release}, which this release cannot take over.`,
    `It is kept, complete, as ${kept}: Weir's database, and LiteLLM's with its virtual keys, which is in the ` +
      'same Postgres.',
    ...(journal === null
      ? []
      : [
          `Ends of calls that its database had not taken yet are kept as ${journal}; they are not booked in the ` +
            'new one.',
        ]),
    'A new, empty database begins now; secrets and tokens in demo.json stay the same. docs/releases.md says how ' +
      'to read the old one.',
  ];
}

/**
 * Where the journal of the installation is now, if anything is in it. The folders of other databases that share the
 * home stay.
 */
function keepJournal(home: string, installation: string): string | null {
  const kept = path.join(home, 'journal.old', installation);
  const folder = path.join(home, 'journal', installation);
  if (!hasFiles(folder)) return hasFiles(kept) ? kept : null;
  fs.mkdirSync(path.dirname(kept), { recursive: true, mode: 0o700 });
  const to = freeName(kept);
  fs.renameSync(folder, to);
  return to;
}

const hasFiles = (folder: string): boolean => fs.existsSync(folder) && fs.readdirSync(folder).length > 0;

/** `name`, or the first of `name.2`, `name.3`, … that nothing has yet. */
function freeName(name: string): string {
  for (let number = 2, free = name; ; free = `${name}.${number++}`) if (!fs.existsSync(free)) return free;
}
