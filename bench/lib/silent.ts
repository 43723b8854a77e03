import type { Logger } from '../../src/lib/logger';

/**
 * For parts of the product that run inside a measurement: what they say is of no interest to whoever reads its table.
 */
export const SILENT: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: (fields: unknown, text?: string) => console.error(text, fields),
} as unknown as Logger;
