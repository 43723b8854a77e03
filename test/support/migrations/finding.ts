/** Something that a migration should not do, at a line (from 1) of its file. */
export interface Found {
  line: number;
  rule: string;
  /** What is wrong, and what to do instead. */
  message: string;
}

export const CONTRACT =
  'Let it stand while the release before still runs. Where a release stopped using it, write "-- contract: <that ' +
  'release>" on the line before.';
