import type { Step, Walk } from './reconciler';
import { Sums } from './sums';

export interface ReconcileCommandDeps {
  reconciler: { walk(walk: Walk): AsyncIterable<Step> };
  corrector: Walk['corrector'];
  print(line: string): void;
}

const MAX_LISTED = 100;

/**
 * `npm run admin -- reconcile`: any span, estimates corrected, as the nightly run does it. Prints the first
 * differences, and sums. Rejects when the proxy does not answer; what was corrected until then stays.
 */
export async function reconcile(span: { from: Date; to: Date }, deps: ReconcileCommandDeps): Promise<Sums> {
  const { reconciler, corrector, print } = deps;
  const sums = new Sums();
  let listed = 0;
  let differences = 0;
  for await (const step of reconciler.walk({
    fromMs: span.from.getTime(),
    toMs: span.to.getTime(),
    organizationId: null,
    planned: () => PLANNED,
    corrector,
  })) {
    sums.add(step);
    differences += step.differences.length;
    for (const {
      kind,
      callId,
      proxyRequestId,
      at,
      ourTokens,
      proxyTokens,
      ourCost,
      proxyCost,
      resolution,
    } of step.differences.slice(0, Math.max(0, MAX_LISTED - listed))) {
      listed += 1;
      print(
        `${at}  ${kind}  ${callId ?? proxyRequestId}  tokens ${ourTokens ?? '-'} / ${proxyTokens ?? '-'}  cost ${ourCost ?? '-'} / ${proxyCost ?? '-'}  ${resolution}`,
      );
    }
  }
  if (differences > listed) print(`and ${differences - listed} more: they are in the graph, as \`reconciliation\``);
  const { byKind } = sums;
  print(
    `${sums.comparedCalls} calls from ${span.from.toISOString()} to ${span.to.toISOString()}: here $${sums.ourCost ?? '0'}, at the proxy $${sums.proxyCost ?? '0'}`,
  );
  print(
    `missing here ${byKind.MISSING_HERE}, missing at the proxy ${byKind.MISSING_AT_PROXY}, tokens differ ${byKind.TOKENS_DIFFER}, cost differs ${byKind.COST_DIFFERS}; corrected ${sums.corrected}, could not be corrected ${sums.notCorrected}`,
  );
  return sums;
}

const PLANNED = 'An estimate of ours, where the proxy has what was used: replaced by a correction now.';
