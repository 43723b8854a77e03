import { LitellmUnavailable } from './litellm-errors';
import { runProgram } from './run-program';

export interface Python {
  file: string;
  version: string;
}

/** LiteLLM was measured on 3.11; it asks for 3.10 to 3.14. */
const CANDIDATES = ['python3.11', 'python3.12', 'python3.13', 'python3.10', 'python3', 'python', 'python3.14'];
const PROGRAM =
  'import sys; v = sys.version_info; assert (3, 10) <= v < (3, 15), "old"; print("%d.%d.%d" % v[:3]); import venv, ensurepip';
const REMEDY =
  'Install Python 3.10 or newer with venv (Debian: apt install python3-venv, macOS: brew install python@3.12) or name one in PYTHON, then start again.';

/** The first Python that can make a virtual environment. Throws LitellmUnavailable NO_PYTHON. */
export async function findPython(
  env: Readonly<Record<string, string | undefined>>,
  signal?: AbortSignal,
): Promise<Python> {
  let incomplete: string | null = null;
  for (const file of env.PYTHON ? [env.PYTHON] : CANDIDATES) {
    const { code, output } = await runProgram(file, ['-c', PROGRAM], { env, signal });
    const version = /^3\.\d+\.\d+/m.exec(output)?.[0];
    if (code === 0 && version) return { file, version };
    if (version) incomplete ??= `${file} (${version})`;
  }
  if (incomplete) throw new LitellmUnavailable('NO_PYTHON', `${incomplete} cannot make virtual environments.`, REMEDY);
  throw new LitellmUnavailable(
    'NO_PYTHON',
    env.PYTHON
      ? `PYTHON=${env.PYTHON} is no Python between 3.10 and 3.14.`
      : 'No Python between 3.10 and 3.14 was found.',
    REMEDY,
  );
}
