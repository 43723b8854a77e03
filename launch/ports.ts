import net from 'node:net';

/** A port that nobody listens on at this moment. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = net.createServer();
  await listen(server, 0, host);
  const { port } = server.address() as net.AddressInfo;
  await close(server);
  return port;
}

/** Null when the port can be had, else the system's code for why not (EADDRINUSE, EACCES, EADDRNOTAVAIL, …). */
export async function whyNotPort(port: number, host: string): Promise<string | null> {
  const server = net.createServer();
  try {
    await listen(server, port, host);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
  }
  await close(server);
  return null;
}

const listen = (server: net.Server, port: number, host: string): Promise<void> =>
  new Promise((resolve, reject) => server.once('error', reject).listen({ port, host, exclusive: true }, resolve));
const close = (server: net.Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));
