import type { Db } from '../../src/database/pool';
import { Decimal } from '../../src/lib/decimal';
import { PriceBook } from '../../src/services/pricing/price-book';
import { PriceService } from '../../src/services/pricing/price.service';
import type { ModelPriceEdit, Rates } from '../../src/services/pricing/pricing.types';
import type { Viewer } from '../../src/domain/principal';
import { setClock } from '../../test/support/database';
import { toldPrices, type ToldPrice } from './dashboard-prices';
import { SILENT } from './silent';

export interface Prices {
  book: PriceBook;
  service: PriceService;
}

/** The product's own price book over a database, as app.ts makes it. */
export async function openPrices(db: Db): Promise<Prices> {
  const book = new PriceBook({ db, logger: SILENT });
  await book.start();
  return {
    book,
    service: new PriceService({
      db,
      book,
      logger: SILENT,
      people: { visibleOrganization: () => Promise.reject(new Error('no price of an organisation is set here')) },
    }),
  };
}

/** Records the price book as it came about, through the product's service, by the clock of each record. */
export async function recordPrices(db: Db, operator: Viewer): Promise<void> {
  const { service } = await openPrices(db);
  for (const told of toldPrices()) {
    await setClock(db, told.recordedAt.toISOString());
    await service.setModelPrice(operator, editOf(told), false);
  }
  await setClock(db, null);
}

const MILLION = Decimal.parse('1000000');
const perMillion = (rate: string): string => Decimal.parse(rate).times(MILLION).toString();

export function editOf({ model, from, rates, note }: Omit<ToldPrice, 'recordedAt'>): ModelPriceEdit {
  const base = ({ input, output, cacheRead, cacheWrite }: Omit<Rates, 'tiers'>) => ({
    inputPerMillion: perMillion(input),
    outputPerMillion: perMillion(output),
    cacheReadPerMillion: perMillion(cacheRead!),
    cacheWritePerMillion: perMillion(cacheWrite!),
  });
  return {
    model,
    effectiveFrom: from,
    note,
    ...base(rates),
    cacheWriteOneHourPerMillion: perMillion(rates.cacheWriteOneHour!),
    ...(rates.reasoning ? { reasoningPerMillion: perMillion(rates.reasoning) } : {}),
    tiers: (rates.tiers ?? []).map(({ abovePromptTokens, ...tier }) => ({ abovePromptTokens, ...base(tier) })),
  };
}
