// npm start: everything from a fresh clone to a server that answers. Plain Node without packages, since none are
// installed yet.
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { inRoot, root } from './lib/paths.mjs';
import { ensureBuilt, ensureInstalled, isInstalled, requireNode } from './lib/prepare.mjs';

const startedAt = performance.now();
requireNode();
// The same file that docker compose reads; what is set already wins.
if (fs.existsSync(inRoot('.env'))) process.loadEnvFile(inRoot('.env'));
try {
  if (!isInstalled()) await refuseTakenPort();
  await ensureInstalled();
  await ensureBuilt();
} catch (error) {
  console.error(error.message);
  process.exit(process.exitCode || 1);
}
const { launch } = await import('../dist/launch/launch.js');
await launch({ env: process.env, root, terminal: process.stdout, startedAt, exit: (code) => process.exit(code) });

/** The launcher asks again, and better; this saves the time of an installation that could not be used. */
async function refuseTakenPort() {
  const home = path.resolve(process.env.WEIR_HOME || inRoot('.weir'));
  const port = Number(process.env.PORT || 4100);
  if (fs.existsSync(path.join(home, 'lock.json')) || !Number.isInteger(port) || port < 1 || port > 65_535) return;
  const server = net.createServer();
  await new Promise((resolve, reject) => {
    server.once('error', (error) =>
      error.code === 'EADDRINUSE'
        ? reject(new Error(`Port ${port} is in use. Choose another: PORT=${port + 1} npm start`))
        : resolve(),
    );
    server.listen({ port, host: process.env.HOST || '127.0.0.1', exclusive: true }, () => server.close(resolve));
  });
}
