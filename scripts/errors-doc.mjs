// Writes docs/errors.md from the tables of the built code: `npm run build && node scripts/errors-doc.mjs`.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { errorsDocument } = createRequire(import.meta.url)('../dist/scripts/errors-document.js');
fs.writeFileSync(new URL('../docs/errors.md', import.meta.url), errorsDocument());
