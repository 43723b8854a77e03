import { once } from 'node:events';
import net from 'node:net';

/**
 * Stands before a server and can stop passing anything on, as a network that drops packets does: connections stay open
 * and nothing comes back.
 */
export class TcpFront {
  private readonly sockets = new Set<net.Socket>();
  private dark = false;
  private gone = false;

  private constructor(
    private readonly server: net.Server,
    readonly url: string,
  ) {}

  /** Before the server of a URL; `url` is the same with another port. */
  static async start(target: string): Promise<TcpFront> {
    const { hostname, port } = new URL(target);
    const server = net.createServer((inner) => front.accept(inner, hostname, Number(port))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = new URL(target);
    url.hostname = '127.0.0.1';
    url.port = String((server.address() as net.AddressInfo).port);
    const front = new TcpFront(server, url.toString());
    return front;
  }

  /** What is connected now is dead from here on, and does not notice. */
  freeze(): void {
    for (const socket of this.sockets) socket.pause().unpipe();
  }

  /** New connections are accepted and get no answer, until it is light again. */
  set newConnectionsToo(dark: boolean) {
    this.dark = dark;
  }

  /** Cuts what is connected and what connects from now on, as while a server is down; until it is back. */
  set away(away: boolean) {
    this.gone = away;
    if (away) for (const socket of this.sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(inner: net.Socket, host: string, port: number): void {
    this.hold(inner);
    if (this.gone) inner.destroy();
    if (this.dark || this.gone) return;
    const outer = net.connect(port, host);
    this.hold(outer);
    inner.pipe(outer).pipe(inner);
    inner.once('close', () => outer.destroy());
    outer.once('close', () => inner.destroy());
  }

  private hold(socket: net.Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => {}).once('close', () => this.sockets.delete(socket));
  }
}
