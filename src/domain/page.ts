import { badInput } from '../errors';
import type { PageArgs } from '../lib/page';

const MAX_PAGE = 100;

/** Throws BAD_USER_INPUT: a page has 1 to 100 edges. */
export function checkPage<P extends PageArgs>(page: P): P {
  if (Number.isInteger(page.first) && page.first >= 1 && page.first <= MAX_PAGE) return page;
  throw badInput('first', `must be between 1 and ${MAX_PAGE}`);
}
