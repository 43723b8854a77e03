import { whyNotPort } from './ports';
import type { Env } from './upstream';

export interface Address {
  host: string;
  port: number;
}

/** Checked by the configuration already. */
export const readAddress = (env: Env): Address => ({
  host: env.HOST?.trim() || '127.0.0.1',
  port: Number(env.PORT?.trim() || 4100),
});

/** Before the slow steps: throws, in words for a person, where the port cannot be had. */
export async function refuseTakenPort({ host, port }: Address): Promise<void> {
  if (port === 0) return;
  const why = await whyNotPort(port, host);
  if (why === null) return;
  if (why === 'EADDRINUSE')
    throw new Error(
      `Port ${port} on ${host} is in use by another program. Choose another: PORT=${await nextFree(port, host)} npm start`,
    );
  if (why === 'EACCES')
    throw new Error(`Port ${port} may only be opened by an administrator. Choose one above 1023: PORT=4100 npm start`);
  throw new Error(`This machine cannot listen on HOST=${host} (${why}). Choose another: HOST=127.0.0.1 npm start`);
}

async function nextFree(taken: number, host: string): Promise<number> {
  for (let port = taken + 1; port < Math.min(taken + 100, 65_536); port++)
    if ((await whyNotPort(port, host)) === null) return port;
  return 0;
}
