import fs from 'node:fs';
import path from 'node:path';
import { inRoot } from './paths.mjs';

/** The compiler copies no SQL: functions, views and tables go beside the code that loads them. */
export function copySql(to) {
  for (const entry of fs.readdirSync(inRoot('src'), { recursive: true })) {
    if (!entry.endsWith('.sql')) continue;
    fs.mkdirSync(path.join(to, path.dirname(entry)), { recursive: true });
    fs.copyFileSync(inRoot('src', entry), path.join(to, entry));
  }
}
