import fs from 'node:fs';
import path from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { packageRoot } from '../lib/package-root';
import type { ServerConfig } from './server-config';
import type { Logger } from '../lib/logger';
import { EXAMPLE_PATH, hasExample } from './example-route';
import { demoTokens, isLocal, secured } from './page';

/** GraphiQL in the browser, for development. Everything comes from our own files: it works without the internet. */
export interface Explorer {
  sendPage(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply>;
  addRoutes(app: FastifyInstance): void;
}

const BASE = '/graphql/explorer';
/** The page's own files, beside `src` and `dist`. */
const OWN = path.join(packageRoot(__dirname), 'explorer');
const TYPES: Record<string, string> = { '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };

/**
 * GraphiQL's editor writes style attributes; everything else is ours alone, nothing is inline, and the page talks to
 * this server only.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "font-src 'self' data:",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** null when its packages are not installed (they are development dependencies). */
export function openExplorer({ config, logger }: { config: ServerConfig; logger: Logger }): Explorer | null {
  let files: Map<string, string>;
  try {
    files = assets();
  } catch (error) {
    logger.warn({ err: error }, 'the explorer is not installed: run npm install with development dependencies');
    return null;
  }
  const tabs: unknown = JSON.parse(fs.readFileSync(path.join(OWN, 'tabs.json'), 'utf8'));
  return {
    async sendPage(request, reply) {
      const roles = isLocal(request, config) ? demoTokens(config.demoFile) : {};
      return secured(reply)
        .type('text/html; charset=utf-8')
        .header('content-security-policy', POLICY)
        .send(page({ roles, tabs }, hasExample(config)));
    },
    addRoutes(app) {
      for (const [name, file] of files) {
        app.get(`${BASE}/${name}`, async (_request, reply) =>
          secured(reply)
            .type(TYPES[path.extname(file)]!)
            .header('cache-control', 'public, max-age=300')
            .send(await fs.promises.readFile(file)),
        );
      }
    },
  };
}

/** By name, as the page asks for them; only these are served. */
function assets(): Map<string, string> {
  const inPackage = (name: string, ...parts: string[]): string =>
    path.join(path.dirname(require.resolve(`${name}/package.json`)), ...parts);
  const graphqlWs = path.dirname(require.resolve('graphql-ws'));
  const files: [string, string][] = [
    ['boot.js', path.join(OWN, 'boot.js')],
    ['explorer.css', path.join(OWN, 'explorer.css')],
    ['react.js', inPackage('react', 'umd', 'react.production.min.js')],
    ['react-dom.js', inPackage('react-dom', 'umd', 'react-dom.production.min.js')],
    ['graphiql.js', inPackage('graphiql', 'graphiql.min.js')],
    ['graphiql.css', inPackage('graphiql', 'graphiql.min.css')],
    ['graphql-ws/client.js', path.join(graphqlWs, 'client.js')],
    // The client imports its common part under a name with a hash.
    ...fs
      .readdirSync(graphqlWs)
      .filter((name) => /^common-[\w-]+\.js$/.test(name))
      .map((name): [string, string] => [`graphql-ws/${name}`, path.join(graphqlWs, name)]),
  ];
  for (const [, file] of files) fs.accessSync(file);
  return new Map(files);
}

const page = (settings: object, withExample: boolean): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Weir explorer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${BASE}/graphiql.css">
<link rel="stylesheet" href="${BASE}/explorer.css">
</head>
<body>
<header>
<h1>Weir <small>explorer, development only</small></h1>
<span id="state" role="status"></span>
${
  withExample
    ? `<a href="${EXAMPLE_PATH}">Example chat</a>
`
    : ''
}<label>Role <select id="role"></select></label>
<label>Token <input id="token" type="text" spellcheck="false" autocomplete="off" placeholder="weir_…"></label>
</header>
<div id="graphiql"></div>
<script id="settings" type="application/json">${JSON.stringify(settings).replaceAll('<', '\\u003c')}</script>
<script src="${BASE}/react.js"></script>
<script src="${BASE}/react-dom.js"></script>
<script src="${BASE}/graphiql.js"></script>
<script type="module" src="${BASE}/boot.js"></script>
</body>
</html>
`;
