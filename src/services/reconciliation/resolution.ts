import type { ListedRecord } from '../upstream/litellm/spend-list';
import type { OurCall } from './reconciliation.types';
import { sameCost } from './same-cost';

/**
 * What a difference says of itself: why, and what happens or can be done. Sentences for people; the kinds are for
 * programs.
 */

export const NIGHTLY =
  'An estimate of ours, where the proxy has what was used: the nightly run replaces it by a correction.';
export const ON_DEMAND =
  'An estimate of ours, where the proxy has what was used: `npm run admin -- reconcile` replaces it by a correction.';

export function missingAtProxy(call: OurCall): string {
  if (call.usageSource === 'NONE')
    return 'It failed before the proxy wrote anything about it: nothing was used, and nothing is booked.';
  if (call.usageSource === 'CACHE')
    return 'The proxy has lost its record. It had answered from its own cache: nothing is booked.';
  if (call.usageSource === 'PROVIDER')
    return 'The proxy has lost its record, or has removed it by its own retention. What the provider reported stands.';
  return 'The proxy has no record of it that could replace the estimate, which stands.';
}

export function missingHere(record: ListedRecord, isOurId: boolean): string {
  if (isOurId)
    return 'It has an id of ours, and no row here: it was made by another installation or before a restore of this database. Nothing of it is booked here.';
  const who = record.keyAlias === null ? `a key of the team ${record.teamId}` : `the key ${record.keyAlias}`;
  return `It was made at the proxy with ${who}, past this service: nothing of it is booked here. Whoever knows that key can do so; a blocked user's key is refused.`;
}

/** Whoever has a key of the same proxy can send any id. */
export function othersRecord({ callId, keyAlias, teamId }: ListedRecord): string {
  const who = keyAlias === null ? `a key of the team ${teamId}` : `the key ${keyAlias}`;
  return `It has the id of a call of ours (${callId}), and was paid by ${who}, which is not that call's: somebody has used the id, past this service. Nothing of it is booked here.`;
}

export const implausibleRecord = (call: OurCall, record: ListedRecord): string =>
  `The proxy's record has ${record.totalTokens} tokens, which cannot be of this call: more than its model can read and write. They are not booked, and ${call.usageSource === 'NONE' ? 'nothing else is' : 'the estimate stands'}.`;

export const secondRecord = (call: OurCall): string =>
  `The proxy charged a second time for the id of this call (${call.id}): somebody has used it again, past this service. Nothing of it is booked here.`;

/** Why tokens differ, and stay so. */
export function tokensResolution(call: OurCall, record: ListedRecord, refusedHere: boolean): string {
  if (refusedHere)
    return 'The provider told figures that cannot be of this call, and the proxy wrote them down: they were refused here, and the estimate stands.';
  if (call.usageSource === 'CACHE')
    return 'The proxy answered from its cache, and its record does not say so. Nothing is booked.';
  const ours =
    call.usageSource === 'PROVIDER'
      ? 'What the provider reported stands.'
      : call.usageSource === 'RECONCILED'
        ? 'What the proxy had told before stands.'
        : call.usageSource === 'NONE'
          ? 'No answer came, and nothing is booked.'
          : 'The estimate here is another one, and stands.';
  if (record.state === 'CUT_OFF') return `The proxy's record is an estimate of its own: the call was cut off. ${ours}`;
  if (record.state === 'BROKE_OFF')
    return `The proxy's record is an estimate of its own: the provider failed in the middle. ${ours}`;
  if (record.state === 'REFUSED') return `The proxy recorded a failure that cost nothing. ${ours}`;
  if (!record.tokens) return `The provider told no usage, and the proxy wrote down zeros. ${ours}`;
  if (call.streamed && !record.hasDetails)
    return `The provider told no usage, and the proxy counted by itself. ${ours}`;
  if (call.totalTokens === record.totalTokens)
    return `The sums agree, and their parts differ: ${parts(call.tokens)} here, ${parts(record.tokens)} at the proxy. ${ours}`;
  return `The proxy wrote down other figures than the provider told us. ${ours}`;
}

const parts = (tokens: OurCall['tokens']): string =>
  `${tokens.cacheRead} cached, ${tokens.cacheWrite} put into the cache, ${tokens.reasoning} of reasoning`;

/** Why the same tokens cost another sum. Whose figure is right is the price book's to say. */
export function costResolution(call: OurCall, record: ListedRecord): string {
  const { price, tokens } = call;
  if (call.cost === null) return 'No price was known here. A price that is set for the time of the call books it.';
  if (record.fromCache) return 'The proxy answered from its own cache.';
  if (record.spend === '0') return 'The proxy knows no price of it, and wrote down zero.';
  if (!price) return 'It was priced here without a record of the price book.';
  const by = `record ${price.number} of the price book`;
  if (price.own) return `Priced here by ${by}, a price of the organisation's own.`;
  if (price.source === 'ADMIN') return `Priced here by ${by}, which an operator has entered.`;
  if (price.model !== call.servedModel)
    return `Another model answered (${call.servedModel}), whose price was not known here: it is priced by ${by}, of ${price.model}.`;
  const cached = [
    ...(tokens.cacheRead > 0 && differ(call.cacheReadCost, record.cacheReadCost)
      ? [`${tokens.cacheRead} cached tokens as $${record.cacheReadCost ?? '0'}, here $${call.cacheReadCost}`]
      : []),
    ...(tokens.cacheWrite > 0 && differ(call.cacheWriteCost, record.cacheWriteCost)
      ? [
          `${tokens.cacheWrite} tokens put into the cache as $${record.cacheWriteCost ?? '0'}, here $${call.cacheWriteCost}`,
        ]
      : []),
  ];
  if (cached.length > 0) return `The proxy priced ${cached.join(', and ')}, by a table of its own; here by ${by}.`;
  if (price.source === 'FALLBACK')
    return `Priced here by ${by}, a list price that comes with the product: the proxy had told none.`;
  return `Priced here by ${by}, as the proxy's table was then. It has charged by another one: its table has changed, or it charges what it does not list.`;
}

const differ = (ours: string | null, theirs: string | null): boolean => !sameCost(ours ?? '0', theirs ?? '0');
