import path from 'node:path';

/** Where things of LiteLLM are: in the folder of what the product keeps (`home`), and in the repository. */
export interface LitellmPaths {
  folder: string;
  venv: string;
  python: string;
  /** Says that the installation is whole, and of what. */
  stamp: string;
  /** What LiteLLM's database client starts in place of Prisma's engine. */
  engine: string;
  /** Prisma's command line, for generating the database client. */
  prismaCli: string;
  log: string;
  pidFile: string;
  config: string;
  lockFile: string;
  source: string;
}

export function litellmPaths(home: string, repositoryRoot: string): LitellmPaths {
  const folder = path.resolve(home, 'litellm');
  const source = path.resolve(repositoryRoot, 'litellm');
  const venv = path.join(folder, 'venv');
  return {
    folder,
    venv,
    python: process.platform === 'win32' ? path.join(venv, 'Scripts', 'python.exe') : path.join(venv, 'bin', 'python'),
    stamp: path.join(folder, 'installed.json'),
    engine: path.join(folder, 'query-engine'),
    prismaCli: path.join(folder, 'prisma-cli'),
    log: path.join(folder, 'litellm.log'),
    pidFile: path.join(folder, 'litellm.pid'),
    config: path.join(folder, 'config.yaml'),
    lockFile: path.join(source, 'requirements.lock'),
    source,
  };
}
