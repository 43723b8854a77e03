import path from 'node:path';
import { installLitellm, type LitellmInstall } from '../../launch/litellm-install';
import { ROOT } from './npm-start';

/** Milliseconds. A minute on an idle machine with a near index. */
const INSTALLED_WITHIN_MS = 1_200_000;
/** Where `npm start` keeps LiteLLM in this clone. */
export const LITELLM_HOME = path.resolve(ROOT, process.env.WEIR_HOME ?? '.weir');

/**
 * The LiteLLM of this clone, where `npm start` installs it: the first who asks installs it, whoever asks meanwhile
 * waits, in whatever process.
 * Fails with what it was doing and what pip said.
 */
export async function installLitellmOnce(): Promise<LitellmInstall> {
  let doing = 'nothing yet';
  const report = (text: string): void => void (doing = text);
  try {
    return await installLitellm({
      home: LITELLM_HOME,
      repositoryRoot: ROOT,
      env: process.env,
      report,
      signal: AbortSignal.timeout(INSTALLED_WITHIN_MS),
    });
  } catch (cause) {
    throw new Error(`LiteLLM could not be installed (at last: ${doing}): ${(cause as Error).message}`, { cause });
  }
}
