import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LitellmStandIn } from './litellm-admin';

export interface LitellmFront {
  baseUrl: string;
  close(): Promise<void>;
}

/**
 * One address for a proxy whose administration is a stand-in and whose models are the fake provider's, as a LiteLLM has
 * both on one port.
 */
export async function startLitellmFront(parts: {
  admin: LitellmStandIn;
  providerUrl: string;
  /** Of /v1/model/info. */ deployments: object[];
}): Promise<LitellmFront> {
  const provider = new URL(parts.providerUrl).origin;
  const send = (response: http.ServerResponse, body: object): void =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url!, provider);
    if (pathname === '/model_group/info') return send(response, { data: [] });
    if (pathname === '/v1/model/info') return send(response, { data: parts.deployments });
    if (pathname.startsWith('/health')) return send(response, { status: 'healthy' });
    const origin = pathname.startsWith('/v1/') ? provider : parts.admin.baseUrl;
    const upstream = http.request(
      new URL(request.url!, origin),
      { method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
