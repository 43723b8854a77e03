import type { CubesLag, RollupLagStore } from './rollup-lag.store';
import type { ComponentState } from '../../domain/status';

/** Two rounds of the folder under full load are within it. Seconds. */
const LATE_SECONDS = 5;

/** How far the cubes are behind, for `service`. Reports are exact all the same. */
export async function cubesStatus(
  store: Pick<RollupLagStore, 'lag'>,
): Promise<{ state: ComponentState; detail: string | null }> {
  const lag = await store.lag(LATE_SECONDS);
  const isLate = lag.behindSeconds >= LATE_SECONDS;
  const late = isLate
    ? `${Math.floor(lag.behindSeconds)} s behind: ${lag.waiting.toLocaleString('en')} calls wait to be folded; reports stay exact and are slower`
    : null;
  const details = [late, priceChangeDetail(lag.priceChange)].filter((detail) => detail !== null);
  return { state: isLate ? 'DEGRADED' : 'UP', detail: details.length > 0 ? details.join('. ') : null };
}

function priceChangeDetail(change: CubesLag['priceChange']): string | null {
  if (!change) return null;
  return `price change ${change.book}: ${change.upTo === null ? 'not yet folded' : `folded up to ${change.upTo}`}`;
}
