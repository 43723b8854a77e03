import { readFileSync } from 'node:fs';
import path from 'node:path';

/** Loaded into the product (`node -r`): each token goes out by itself, as from a model that is slow. What a token costs is told apart from what joining saves. */
const FILE = path.join('streams', 'live-stream.js');
const WINDOW = 'loopLoad < 0.6 ? 20 : loopLoad < 0.8 ? 60 : 120';

interface Loading { _compile(text: string, file: string): void }
const loaders = require.extensions as unknown as Record<string, (module: Loading, file: string) => void>;
const load = loaders['.js']!;
loaders['.js'] = (module, file) => {
  if (!file.endsWith(FILE)) return load(module, file);
  const text = readFileSync(file, 'utf8');
  if (!text.includes(WINDOW)) throw new Error(`${file} has no ${WINDOW}: how is joining decided now?`);
  module._compile(text.replace(WINDOW, '0'), file);
};
