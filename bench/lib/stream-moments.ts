import { setTimeout as sleep } from 'node:timers/promises';
import { jsonRequest, RawConnection } from './raw-http';
import { resumeOnce, weirStream, type StreamRun } from './stream-clients';

const nowMicros = (): number => Number(process.hrtime.bigint()) / 1_000;
const STOP = 'mutation ($streamId: ID!) { stopStream(streamId: $streamId) { stopped } }';

/**
 * From asking for an answer that is over, on an open connection, to its last event: so many times, in milliseconds.
 * `elsewhere`: the port that is asked.
 */
export async function resumes(
  port: number,
  elsewhere: number,
  token: string,
  model: string,
  times: number,
): Promise<number[]> {
  const run = weirStream(port, token, model);
  await run.result;
  const { streamId } = run;
  const found: number[] = [];
  for (let round = 0; round < times + 3; round += 1) found.push(await resumeOnce(elsewhere, token, streamId!, 4_000));
  return found.slice(3);
}

/**
 * Stops that come while so many streams run: from the sending of each to the moment at which the upstream saw its
 * connection close, in milliseconds.
 */
export async function stops(
  port: number,
  upstreamPort: number,
  tokens: readonly string[],
  model: string,
  running: number,
  stopped: number,
): Promise<number[]> {
  const runs: { run: StreamRun; token: string; label: string }[] = [];
  for (let index = 0; index < running; index += 1) {
    const token = tokens[index % tokens.length]!;
    const label = `stop-${index}`;
    runs.push({ run: weirStream(port, token, model, { label }), token, label });
    await sleep(4);
  }
  await sleep(1_000);
  const connection = await RawConnection.open(port);
  const asked: { label: string; atMicros: number }[] = [];
  for (const { run, token, label } of runs.filter((_, index) => index % Math.floor(running / stopped) === 0)) {
    asked.push({ label, atMicros: nowMicros() });
    await connection.send(jsonRequest(port, '/graphql', { query: STOP, variables: { streamId: run.streamId } }, token));
    await sleep(10);
  }
  connection.close();
  await Promise.all(runs.map(({ run }) => run.result));
  const closedAt = (await (await fetch(`http://127.0.0.1:${upstreamPort}/closed`)).json()) as Record<string, number>;
  return asked.map(({ label, atMicros }) => (closedAt[label]! - atMicros) / 1_000);
}
