import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Services } from '../../../src/resolvers/context';
import { contextOf, leavingSignal } from '../../../src/server/graphql/request';
import { viewerOf } from '../../support/graph-server';

describe('leavingSignal', () => {
  const server = http.createServer();
  beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'));
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  async function ask(): Promise<{ sent: http.ClientRequest; response: http.ServerResponse }> {
    const sent = http.get({ port: (server.address() as AddressInfo).port, agent: false }).on('error', () => {});
    const [, response] = (await once(server, 'request')) as [unknown, http.ServerResponse];
    return { sent, response };
  }

  it.each([
    ['before', true],
    ['after', false],
  ])('aborts for who leaves, asked for %s that', async (_when, early) => {
    const { sent, response } = await ask();
    const asked = early ? leavingSignal(response) : null;
    expect(asked?.aborted ?? false).toBe(false);
    const closed = once(response, 'close');
    sent.destroy();
    await closed;
    expect((asked ?? leavingSignal(response)).aborted).toBe(true);
  });

  it('does not abort when the answer has gone out', async () => {
    const { sent, response } = await ask();
    sent.on('response', (answer) => answer.resume());
    const asked = leavingSignal(response);
    const closed = once(response, 'close');
    response.end('text');
    await closed;
    expect([asked.aborted, leavingSignal(response).aborted]).toEqual([false, false]);
  });
});

it('an operation that asks for its signal twice has one, and one that does not has none made', () => {
  const signal = jest.fn(() => new AbortController().signal);
  const context = contextOf({} as Services, viewerOf('ann'), 'one', null, { signal, baseUrl: () => null });
  expect(signal).not.toHaveBeenCalled();
  expect(context.signal).toBe(context.signal);
  expect(signal).toHaveBeenCalledTimes(1);
});
