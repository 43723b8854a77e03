import net, { type AddressInfo, type Socket } from 'node:net';
import { Listener } from '../../../src/database/listener';
import { waitFor } from '../../support/wait';

/** AuthenticationOk and ReadyForQuery (idle), as Postgres sends them. */
const WELCOME = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

describe('a connection that is cut between its beginning and LISTEN', () => {
  const sockets = new Set<Socket>();
  let server: net.Server;
  let connections = 0;
  beforeEach(async () => {
    connections = 0;
    server = net.createServer((socket) => {
      connections += 1;
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(WELCOME);
        socket.once('data', () => socket.destroy());
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('is one that could not be had: it is made anew once, and not again when the listener is stopped', async () => {
    const events: string[] = [];
    const listener = new Listener({
      databaseUrl: `postgresql://nobody@127.0.0.1:${(server.address() as AddressInfo).port}/none`,
      applicationName: 'test',
      channel: 'test',
      reconnectMs: 20,
      onNotification: () => undefined,
      onListening: async () => undefined,
      onLost: () => void events.push('lost'),
      onRefused: () => void events.push('refused'),
    });
    await listener.start();
    await waitFor(() => events.length >= 5);
    await listener.stop();
    expect(new Set(events)).toEqual(new Set(['refused']));
    expect(connections).toBe(events.length);
  });
});
