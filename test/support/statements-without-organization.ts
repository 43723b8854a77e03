/**
 * Statements of the product that may go over all organisations: a part of each that is in no other, and why. At most
 * 25.
 */
export const WITHOUT_ORGANIZATION: readonly { part: string; reason: string }[] = [
  {
    part: 'SELECT id, stop_reason AS reason FROM calls_in_flight WHERE owner = $1',
    reason: 'A server asks for its own calls, whose ever they are.',
  },
  { part: 'SELECT DISTINCT owner, -1 FROM calls_in_flight', reason: 'A server asks which other servers have calls.' },
  {
    part: 'DELETE FROM owners WHERE id = $1 AND NOT EXISTS (SELECT FROM calls_in_flight',
    reason: 'A server that ends asks whether it has calls left.',
  },
  {
    part: 'DELETE FROM owners AS o WHERE o.dead_at <',
    reason: 'Whichever server comes first forgets those that ended long ago.',
  },
  {
    part: 'THEN (SELECT sum(rows) FROM usage_batches) ELSE 0 END',
    reason: 'How far the sums are behind is a figure of the whole product.',
  },
  {
    part: 'SELECT max(at) AS at FROM budget_alerts',
    reason: 'A server that starts listening asks from when on it hears of alerts, of everybody.',
  },
  {
    part: `SELECT count(*) FROM users WHERE role = 'OPERATOR'`,
    reason: 'Operators are of the whole product: one has to be left.',
  },
  {
    part: 'FROM usage_daily_overall), (SELECT min(from_at) FROM usage_batches)) AS at',
    reason: 'The price of a model is changed for everybody.',
  },
  { part: '::text AS oldest', reason: `An operator's list of calls may be of all organisations.` },
  { part: ') AS in_flight', reason: `An operator's list of calls may be of all organisations.` },
  { part: 'AS tail_rows FROM usage_batches', reason: `An operator's report may be of all organisations.` },
  { part: 'WITH sums AS MATERIALIZED (SELECT', reason: `An operator's report may be of all organisations.` },
  { part: ' AS names', reason: `An operator's file may be of all organisations.` },
  {
    part: 'SELECT coalesce(sum(hold), 0) AS dollars FROM calls_in_flight',
    reason: 'What is reserved is a metric of the whole product.',
  },
  {
    part: 'SELECT ctid FROM usage_quarter_hourly WHERE at <',
    reason: 'Housekeeping removes what is older than 60 days, of everybody.',
  },
  {
    part: `THEN 'settled calls wait to be folded'`,
    reason: 'Whether a month may be removed is asked of everybody in it.',
  },
  {
    part: 'r.figures IS DISTINCT FROM c.figures',
    reason: 'Whether a month may be removed is asked of everybody in it.',
  },
];
