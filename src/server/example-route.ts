import fs from 'node:fs';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { packageRoot } from '../lib/package-root';
import type { ServerConfig } from './server-config';
import type { Logger } from '../lib/logger';
import { demoTokens, isLocal, secured } from './page';

/** Beside `src` and `dist`. */
const FOLDER = path.join(packageRoot(__dirname), 'examples', 'browser-chat');
const PAGE = 'index.html';
const SCRIPTS = ['chat.js', 'stream-chat.js', 'resuming.js'];
const STYLES = ['chat.css'];
export const EXAMPLE_PATH = '/example';

/** Nothing is inline, and the page talks to this server only. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The example page is there in development, and where its files are: an image has none of them. */
export const hasExample = (config: ServerConfig): boolean =>
  config.env !== 'production' && config.explorer && fs.existsSync(path.join(FOLDER, PAGE));

/**
 * Serves examples/browser-chat: these files by their names and no others. They are read each time, so that who edits
 * them sees it.
 */
export function addExample(app: FastifyInstance, { config, logger }: { config: ServerConfig; logger: Logger }): void {
  if (!hasExample(config))
    return void (config.explorer && logger.debug({ folder: FOLDER }, 'the example page is not served'));
  app.get(EXAMPLE_PATH, async (request, reply) => {
    const settings = JSON.stringify({ roles: isLocal(request, config) ? demoTokens(config.demoFile) : {} }).replaceAll(
      '<',
      '\\u003c',
    );
    const html = await fs.promises.readFile(path.join(FOLDER, PAGE), 'utf8');
    return secured(reply)
      .type('text/html; charset=utf-8')
      .header('content-security-policy', POLICY)
      .send(
        html.replace(
          '<script id="settings" type="application/json">{}',
          () => `<script id="settings" type="application/json">${settings}`,
        ),
      );
  });
  const serve = (names: readonly string[], type: string): void => {
    for (const name of names) {
      app.get(`${EXAMPLE_PATH}/${name}`, async (_request, reply) =>
        secured(reply)
          .type(`${type}; charset=utf-8`)
          .send(await fs.promises.readFile(path.join(FOLDER, name))),
      );
    }
  };
  serve(SCRIPTS, 'text/javascript');
  serve(STYLES, 'text/css');
}
