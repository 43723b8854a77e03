// npm run build: compiles src/, launch/ and scripts/ to dist/ and bundles the explorer, whether something changed or
// not.
import { ensureBuilt, ensureInstalled, requireNode } from './lib/prepare.mjs';

requireNode();
try {
  await ensureInstalled();
  await ensureBuilt({ force: true });
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
