import type { CallRecord } from '../../domain/call';
import type { Metrics } from '../../lib/metrics';
import type { UpstreamError } from '../upstream/errors';

export interface EndedCall {
  /** Of the operation, as OpenTelemetry has it. */
  name: string;
  call: CallRecord;
  answer: { firstPieceAt: number | null };
  /** What went wrong, a stop included. */
  error: UpstreamError | null;
  /** Moments of performance.now(). */
  askedAt: number;
  endedAt: number;
}

/** Counts what an upstream did, and what was booked for it. */
export function countCall(metrics: Metrics, { name, call, answer, error, askedAt, endedAt }: EndedCall): void {
  const { model, upstream, tokens } = call;
  const provider = call.provider ?? 'unknown';
  const genAi = {
    gen_ai_operation_name: name,
    gen_ai_provider_name: provider,
    gen_ai_request_model: model,
    gen_ai_response_model: call.servedModel,
  };
  const errorType = error?.kind ?? '';
  metrics.upstreamSeconds.observe({ ...genAi, error_type: errorType }, (endedAt - askedAt) / 1_000);
  if (call.streamed && answer.firstPieceAt !== null)
    metrics.firstChunkSeconds.observe({ ...genAi, error_type: errorType }, (answer.firstPieceAt - askedAt) / 1_000);
  if (error && error.kind !== 'ABORTED') metrics.upstreamErrors.add({ upstream, kind: error.kind });

  metrics.calls.add({ model, provider, status: call.status, upstream, scenario: call.scenario });
  metrics.tokens.input.add(genAi, tokens.uncachedPrompt + tokens.cacheRead + tokens.cacheWrite);
  metrics.tokens.output.add(genAi, tokens.output + tokens.reasoning);
  metrics.tokens.cacheRead.add(genAi, tokens.cacheRead);
  metrics.tokens.cacheWrite.add(genAi, tokens.cacheWrite);
  metrics.tokens.reasoning.add(genAi, tokens.reasoning);
  if (call.cost) metrics.cost.add({ model, provider }, Number(call.cost.total));
  else if (Object.values(tokens).some((count) => count > 0)) metrics.unpricedCalls.add({ model });
  if (call.usageSource === 'ESTIMATED') metrics.estimatedCalls.add({ model });
}
