import http from 'node:http';
import { waitFor } from './wait';

export interface ServerSentEvent {
  event: string;
  data: any;
}
export interface SseOperation {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Everything that arrived, as it was written. */
  readonly text: string;
  /** Whole events, in order. */
  readonly events: ServerSentEvent[];
  /** The errors of all results. */
  readonly errors: any[];
  /** How the response ended: as it should, or cut. Never rejects. */
  ended: Promise<'END' | 'CUT'>;
  waitFor(predicate: (event: ServerSentEvent) => boolean): Promise<ServerSentEvent>;
  /** Goes away. */
  cut(): void;
  /** Reads nothing any more, without closing. */
  pause(): void;
  resume(): void;
}

/** One request as `curl -N` sends it, on a connection of its own. Resolves with the head of the response. */
export function openSse(
  url: string,
  token: string | null,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<SseOperation> {
  return new Promise((resolve, reject) => {
    const auth: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
    const request = http.request(url, {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...auth, ...headers },
    });
    request.on('error', reject);
    request.once('response', (response) => {
      const chunks: string[] = [];
      let parsed = 0;
      let rest = '';
      const events: ServerSentEvent[] = [];
      const parse = (): void => {
        for (; parsed < chunks.length; parsed += 1) rest += chunks[parsed];
        for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
          const lines = rest
            .slice(0, end)
            .split('\n')
            .filter((line) => !line.startsWith(':'));
          rest = rest.slice(end + 2);
          if (lines.length === 0) continue;
          const field = (name: string): string =>
            lines
              .find((line) => line.startsWith(`${name}:`))!
              .slice(name.length + 1)
              .trim();
          events.push({ event: field('event'), data: field('data') === '' ? null : JSON.parse(field('data')) });
        }
      };
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => chunks.push(chunk));
      response.on('error', () => {});
      const ended = new Promise<'END' | 'CUT'>((done) =>
        response.once('close', () => done(response.complete ? 'END' : 'CUT')),
      );
      const operation: SseOperation = {
        status: response.statusCode!,
        headers: response.headers,
        ended,
        get text() {
          return chunks.join('');
        },
        get events() {
          parse();
          return events;
        },
        get errors() {
          return operation.events.flatMap(({ data }) => data?.errors ?? []);
        },
        waitFor: (predicate) =>
          waitFor(() => operation.events.find(predicate), { what: `an event that ${predicate.toString()}` }),
        cut: () => request.destroy(),
        pause: () => void response.pause(),
        resume: () => void response.resume(),
      };
      resolve(operation);
    });
    request.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}
