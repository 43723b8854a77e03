import type { Db } from '../../database/pool';
import type { Step } from './reconciler';
import type { Sums } from './sums';

/** A night's run: the calls made in [from, to), compared until `comparedUpTo`. */
export interface Run {
  runOn: string;
  from: Date;
  to: Date;
  comparedUpTo: Date;
}
/** All steps of a run, those of earlier owners included. */
export interface RunSums {
  comparedCalls: number;
  missingHere: number;
  missingAtProxy: number;
  tokensDiffer: number;
  costDiffers: number;
  corrected: number;
  notCorrected: number;
  ourCost: string | null;
  proxyCost: string | null;
}

// What one replica has begun another one goes on with, when it has said nothing for so long: much longer than a
// question to the proxy, and the rest behind it, take.
const LEASE = `interval '5 minutes'`;
const RUN = `run_on::text AS "runOn", from_at AS "from", to_at AS "to", compared_up_to AS "comparedUpTo"`;
const SUMS = `compared_calls::float8 AS "comparedCalls", missing_here::float8 AS "missingHere", missing_at_proxy::float8 AS "missingAtProxy", tokens_differ::float8 AS "tokensDiffer",
  cost_differs::float8 AS "costDiffers", corrected::float8 AS corrected, not_corrected::float8 AS "notCorrected", trim_scale(our_cost)::text AS "ourCost", trim_scale(proxy_cost)::text AS "proxyCost"`;

/** Whose turn a night's run is, and how far it has come. */
export class ReconciliationRunStore {
  constructor(private readonly db: Db) {}

  /**
   * Today's run (UTC), from `hour` on: yesterday and the two days before. null: it is not time yet, it is done, or
   * another replica is at it. What has no rows any more is not compared.
   */
  async claim(owner: string, hour: number): Promise<Run | null> {
    const [run] = await this.db.query<Run>(
      `WITH today AS (SELECT date_trunc('day', weir.now(), 'UTC') AS at, dropped_before AS dropped FROM usage_retention)
       INSERT INTO reconciliations (run_on, from_at, to_at, compared_up_to, owner, leased_until)
         SELECT (at AT TIME ZONE 'UTC')::date, t.start, at, t.start, $1, weir.clock() + ${LEASE}
         FROM today CROSS JOIN LATERAL (SELECT least(greatest(at - interval '3 days', dropped), at) AS start) AS t
         WHERE weir.now() >= at + make_interval(hours => $2::integer)
       ON CONFLICT (run_on) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until
         WHERE reconciliations.ended_at IS NULL AND (reconciliations.leased_until < weir.clock() OR reconciliations.owner = excluded.owner)
       RETURNING ${RUN}`,
      [owner, hour],
    );
    return run ?? null;
  }

  /** Says that it is at it still. false: another replica has taken the run over. */
  async renew(runOn: string, owner: string): Promise<boolean> {
    const rows = await this.db.query(
      `UPDATE reconciliations SET leased_until = weir.clock() + ${LEASE} WHERE run_on = $1::date AND owner = $2 AND ended_at IS NULL RETURNING run_on`,
      [runOn, owner],
    );
    return rows.length > 0;
  }

  /**
   * Adds a step. false: another replica has taken the run over, and will do this step again, which corrects nothing
   * twice.
   */
  async add(runOn: string, owner: string, step: Step, { byKind, ourCost, proxyCost }: Sums): Promise<boolean> {
    const rows = await this.db.query(
      `UPDATE reconciliations SET compared_up_to = $3, leased_until = weir.clock() + ${LEASE}, compared_calls = compared_calls + $4, missing_here = missing_here + $5,
         missing_at_proxy = missing_at_proxy + $6, tokens_differ = tokens_differ + $7, cost_differs = cost_differs + $8, corrected = corrected + $9, not_corrected = not_corrected + $10,
         our_cost = coalesce(our_cost + $11, our_cost, $11), proxy_cost = coalesce(proxy_cost + $12, proxy_cost, $12)
       WHERE run_on = $1::date AND owner = $2 AND ended_at IS NULL RETURNING run_on`,
      [
        runOn,
        owner,
        new Date(step.upToMs),
        step.comparedCalls,
        byKind.MISSING_HERE,
        byKind.MISSING_AT_PROXY,
        byKind.TOKENS_DIFFER,
        byKind.COST_DIFFERS,
        step.corrected,
        step.notCorrected,
        ourCost,
        proxyCost,
      ],
    );
    return rows.length > 0;
  }

  /** null: another replica has taken the run over. */
  async end(runOn: string, owner: string): Promise<RunSums | null> {
    const [sums] = await this.db.query<RunSums>(
      `UPDATE reconciliations SET ended_at = weir.clock() WHERE run_on = $1::date AND owner = $2 AND ended_at IS NULL RETURNING ${SUMS}`,
      [runOn, owner],
    );
    return sums ?? null;
  }

  /** For whoever comes next, from now on. */
  async release(runOn: string, owner: string): Promise<void> {
    await this.db.query(
      `UPDATE reconciliations SET leased_until = '-infinity' WHERE run_on = $1::date AND owner = $2 AND ended_at IS NULL`,
      [runOn, owner],
    );
  }
}
