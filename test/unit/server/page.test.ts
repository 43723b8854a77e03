import fastify from 'fastify';
import type { Config } from '../../../src/config';
import { isLocal } from '../../../src/server/page';

const config = { host: '127.0.0.1' } as Config;
/** A proxy is trusted: what it says of its clients does not count here. */
const app = fastify({ trustProxy: true });
app.get('/', async (request) => isLocal(request, config));
afterAll(() => app.close());
const asked = async (remoteAddress: string, headers: Record<string, string>): Promise<unknown> =>
  (await app.inject({ url: '/', remoteAddress, headers })).json();

it.each(['127.0.0.1', '127.8.0.1', '::1', '::ffff:127.0.0.1'])(
  'tokens are shown to this machine (%s) that asks by its own name, and by no other',
  async (address) => {
    for (const host of ['localhost:4100', '127.0.0.1:4100', '[::1]:4100'])
      expect([host, await asked(address, { host })]).toEqual([host, true]);
    expect(await asked(address, { host: 'rebound.example' })).toBe(false);
  },
);

it.each(['192.168.0.7', '10.127.0.1', '::ffff:10.0.0.1', '2001:db8::1', '::1:127.0.0.1'])(
  'another machine (%s) may write any name',
  async (address) => {
    expect(await asked(address, { host: 'localhost' })).toBe(false);
    expect(
      await asked(address, { host: 'localhost', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-host': 'localhost' }),
    ).toBe(false);
  },
);
