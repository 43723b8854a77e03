import { once } from 'node:events';
import net from 'node:net';

/** A request as bytes: made once, sent often. */
export function jsonRequest(port: number, path: string, body: object, token: string | null): Buffer {
  const text = JSON.stringify(body);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\naccept: application/json\r\n${token ? `authorization: Bearer ${token}\r\n` : ''}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

export interface RawReply {
  status: number;
  body: string;
}

/** One kept connection, one request at a time. Next to no cost of its own, so that what is measured is the server. */
export class RawConnection {
  private buffer = '';
  private waiting: { resolve: (reply: RawReply) => void; reject: (error: Error) => void } | null = null;

  private constructor(private readonly socket: net.Socket) {
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('data', (chunk) => this.onData(String(chunk)));
    socket.on('close', () => this.waiting?.reject(new Error('the server closed the connection')));
    socket.on('error', () => {});
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = net.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    return new RawConnection(socket);
  }

  send(request: Buffer): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(request);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private onData(chunk: string): void {
    this.buffer += chunk;
    const end = this.buffer.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.buffer.slice(0, end);
    const length = /content-length: *(\d+)/i.exec(head)?.[1];
    let body: string;
    if (length !== undefined) {
      if (this.buffer.length < end + 4 + Number(length)) return;
      body = this.buffer.slice(end + 4);
    } else {
      if (!this.buffer.endsWith('0\r\n\r\n')) return;
      body = this.buffer.slice(end + 4).replace(/(^|\r\n)[0-9a-f]+\r\n/g, '');
    }
    this.buffer = '';
    const { waiting } = this;
    this.waiting = null;
    waiting?.resolve({ status: Number(head.slice(9, 12)), body: Buffer.from(body, 'latin1').toString() });
  }
}

export interface LoadResult {
  requests: number;
  seconds: number;
  latenciesMs: number[];
}

/**
 * Sends the request on so many connections for so long, each the next as soon as the last is answered. `check` fails
 * the run on a wrong reply.
 */
export async function load(
  port: number,
  request: Buffer,
  options: { connections: number; durationMs: number; check: (reply: RawReply) => boolean },
): Promise<LoadResult> {
  const connections = await Promise.all(Array.from({ length: options.connections }, () => RawConnection.open(port)));
  const latenciesMs: number[] = [];
  const started = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      while (performance.now() - started < options.durationMs) {
        const before = performance.now();
        const reply = await connection.send(request);
        latenciesMs.push(performance.now() - before);
        if (!options.check(reply))
          throw new Error(`not the expected reply: ${reply.status} ${reply.body.slice(0, 500)}`);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1_000;
  for (const connection of connections) connection.close();
  return { requests: latenciesMs.length, seconds, latenciesMs };
}
