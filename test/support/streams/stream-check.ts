import { SLOW_DEADLINE_MS, waitFor } from '../wait';
import type { StreamEvent } from '../ws-client';
import type { StreamLane } from './stream-lane';
import type { StreamRecord } from './stream-record';

interface Row {
  id: string;
  model: string;
  status: string;
}

const ROW_STATUS: Record<string, string[]> = {
  StreamCompleted: ['COMPLETED'],
  StreamStopped: ['STOPPED'],
  StreamFailed: ['FAILED', 'LOST'],
};

/** All who saw an end saw the same one, and it says what the viewers have. */
export function checkEnds(record: StreamRecord, hasDied: boolean): string[] {
  const { plan, ends } = record;
  const faults: string[] = [];
  const fault = (text: string): number => faults.push(`${plan.label}: ${text}`);
  // What is told by another process than the one that ran it has numbers of its own.
  const seen = new Set(ends.map(({ event: { __typename: kind, seq } }) => (hasDied ? kind : `${kind} ${seq}`)));
  if (seen.size > 1) fault(`ended as ${[...seen].join(' and as ')}`);
  const answers = new Set(ends.map(({ event }) => JSON.stringify(answerOf(event))));
  if (answers.size > 1) fault(`different answers: ${[...answers].join(', ').slice(0, 400)}`);
  // Of those who came: who was to come at a number that nobody has seen stayed away.
  const stay = plan.viewers.some(({ comesAtSeq, goesAtSeq }) => comesAtSeq <= record.lastSeq && goesAtSeq === null);
  if (ends.length === 0 && stay) fault('nobody saw the end');
  for (const { event, characters } of ends) checkEnd(record, event, characters, fault);
  return [...new Set(faults)];
}

function answerOf(event: StreamEvent): unknown {
  const answer = (event.reply ?? event.partial)?.answer;
  return answer && [answer.content, answer.reasoning, answer.toolCalls, answer.complete];
}

function checkEnd(record: StreamRecord, end: StreamEvent, characters: number, fault: (text: string) => void): void {
  const { plan } = record;
  const text = record.said('TextDelta');
  const content: string = (end.reply ?? end.partial)?.answer.content ?? '';
  const isWhole = !('cutAfter' in plan.answer || 'endAfter' in plan.answer || 'errorAfter' in plan.answer);
  if (!text.startsWith(content))
    fault(`the answer is no beginning of the upstream's: it ends with ${JSON.stringify(content.slice(-80))}`);
  switch (end.__typename) {
    case 'StreamCompleted':
      if (!isWhole) fault('completed, and the upstream broke');
      if (content !== text || characters !== text.length)
        fault(`completed with ${content.length} characters, ${characters} in pieces, of ${text.length}`);
      break;
    case 'StreamStopped':
      // Whoever reads to the end has what is billed.
      if (content.length !== characters) fault(`stopped with ${content.length} characters, ${characters} in pieces`);
      if (end.reason === 'CLIENT' && plan.stopAtSeq === null) fault('stopped by nobody');
      break;
    case 'StreamFailed':
      if (end.refusal.code !== 'STREAM_INTERRUPTED' && isWhole)
        fault(`failed with ${end.refusal.code}, and the upstream did not`);
      break;
    default:
      fault(`refused: ${JSON.stringify(end.refusal)}`);
  }
}

/** When all is over: one row for each call, nothing held, nothing running, and nothing asked twice. */
export async function checkBooks(
  { database: { db }, provider }: StreamLane,
  records: readonly StreamRecord[],
  counts: Record<string, number>,
): Promise<string[]> {
  const faults: string[] = [];
  const left = async (): Promise<Record<string, number>> => {
    const [row] = await db.query<Record<string, number>>(
      `SELECT (SELECT count(*)::int FROM calls_in_flight) AS calls, (SELECT count(*)::int FROM budget_periods WHERE held <> 0) AS held, (SELECT count(*)::int FROM idempotency_keys WHERE expires_at IS NULL) AS keys`,
    );
    return { ...row!, upstream: provider.running };
  };
  await waitFor(async () => Object.values(await left()).every((count) => count === 0), {
    deadlineMs: SLOW_DEADLINE_MS,
    what: 'every call to end',
  }).catch(async () => faults.push(`left: ${JSON.stringify(await left())}`));
  const labels = records.map(({ plan }) => plan.label);
  const rows = await db.query<Row>(`SELECT id, model, status FROM llm_usage WHERE kind = 'CALL' AND model = ANY($1)`, [
    labels,
  ]);
  for (const {
    plan: { label },
    callIds,
    ends,
  } of records) {
    const own = rows.filter(({ model }) => model === label);
    const asked = provider.requests.filter(({ body }) => body?.model === label).length;
    if (asked > 1) faults.push(`${label}: the upstream was asked ${asked} times`);
    for (const callId of callIds)
      if (own.filter(({ id }) => id === callId).length !== 1)
        faults.push(`${label}: ${own.filter(({ id }) => id === callId).length} rows of ${callId}`);
    if (callIds.size > 0 && own.length !== 1) faults.push(`${label}: ${own.length} rows`);
    for (const { status } of own) {
      counts[status] = (counts[status] ?? 0) + 1;
      const kind = ends[0]?.event.__typename;
      if (kind && !ROW_STATUS[kind]?.includes(status)) faults.push(`${label}: ${kind}, and its row says ${status}`);
    }
  }
  return faults;
}
