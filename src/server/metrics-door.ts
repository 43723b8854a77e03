import { timingSafeEqual } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../lib/logger';
import type { Metrics } from '../lib/metrics';
import { bearerOf, hashOfSecret } from '../services/auth/credentials';

export interface MetricsDoorOptions {
  host: string;
  port: number;
  /** Bearer token that a scraper has to send; null: none is required. */ token: string | null;
}

/**
 * Serves `/metrics` on a separate port, which should not be reachable from outside. Rejects with the system's error, as
 * EADDRINUSE.
 */
export async function openMetricsDoor(
  { host, port, token }: MetricsDoorOptions,
  metrics: Metrics,
  logger: Logger,
): Promise<{ url: string; close(): Promise<void> }> {
  const mayRead = (authorization: string | undefined): boolean => {
    if (token === null) return true;
    const given = bearerOf(authorization);
    return given !== null && timingSafeEqual(hashOfSecret(given), hashOfSecret(token));
  };
  const server: Server = createServer((request, response) => {
    const path = request.url?.split('?', 1)[0];
    if (path !== '/metrics')
      return void response.writeHead(404).end('There is nothing here; the metrics are at /metrics.\n');
    if (request.method !== 'GET') return void response.writeHead(405, { allow: 'GET' }).end();
    if (!mayRead(request.headers.authorization))
      return void response
        .writeHead(401, { 'www-authenticate': 'Bearer' })
        .end('Send METRICS_TOKEN as a bearer token.\n');
    metrics.text().then(
      ({ contentType, body }) =>
        response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(body),
      (error: unknown) => {
        logger.warn({ err: error }, 'the metrics could not be collected');
        response.writeHead(500).end();
      },
    );
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
