import fs from 'node:fs';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerConfig } from './server-config';

// What the pages for development have in common: they hold tokens.

/** Nothing of a page may be read by another site's script, whatever CORS allows for the graph. */
export function secured(reply: FastifyReply): FastifyReply {
  reply.removeHeader('access-control-allow-origin');
  return reply.header('cross-origin-resource-policy', 'same-origin').header('referrer-policy', 'no-referrer');
}

const LOOPBACK = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/;

/**
 * The tokens are on a page only when this machine asks for it, by this machine's name: others can write any name, and a
 * foreign name that points here (DNS rebinding) would make the page readable for that name's site. Whom a proxy speaks
 * for (TRUSTED_PROXIES)
 * does not count.
 */
export function isLocal(request: FastifyRequest, config: ServerConfig): boolean {
  return (
    LOOPBACK.test(request.socket.remoteAddress ?? '') &&
    ['localhost', '127.0.0.1', '[::1]', config.host].includes(request.hostname)
  );
}

/** The demonstration tokens, by role. */
export function demoTokens(file: string | null): Record<string, string> {
  if (!file) return {};
  try {
    return (JSON.parse(fs.readFileSync(file, 'utf8')) as { tokens?: Record<string, string> }).tokens ?? {};
  } catch {
    return {};
  }
}
