import type { CollectorHooks } from '../../src/services/pipeline/operation';

/** Hooks of an answer that nobody looks at, but for what the test names. */
export const collectorHooks = (hooks: Partial<CollectorHooks> = {}): CollectorHooks => ({
  callId: 'call_1',
  onPiece: () => {},
  onHead: () => {},
  behind: () => null,
  isServed: () => false,
  ...hooks,
});
