import fs from 'node:fs';
import path from 'node:path';

/** The folder of the installed product: the nearest one above with a package.json, from sources as from dist/. */
export function packageRoot(from: string): string {
  for (let folder = from; ; folder = path.dirname(folder)) {
    if (fs.existsSync(path.join(folder, 'package.json'))) return folder;
    if (path.dirname(folder) === folder) throw new Error(`no package.json above ${from}`);
  }
}
