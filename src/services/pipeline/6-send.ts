import type { ReplyBase } from '../../domain/outcome';
import { mapNetworkError, UpstreamError } from '../upstream/errors';
import type { SpendMetadata } from '../upstream/upstream';
import type { AdmittedCall } from './5-admit';
import type { Collector } from './operation';

export interface SendDeps {
  totalMs: number;
  /** The id of this database: what the upstream keeps of a call names it. */
  installation: string;
}

/**
 * Asks the upstream, whole or streamed; the collector takes what comes. Gives null, or what went wrong. Two refusals of
 * an upstream with keys of its own say that it knows less than we do (a plan was edited, its database was reset): then
 * it is told once, and asked once more. Nothing else is tried again here.
 */
export async function send<R extends ReplyBase>(
  call: AdmittedCall<R>,
  answer: Collector<R>,
  deps: SendDeps,
  signal: AbortSignal,
): Promise<UpstreamError | null> {
  const { client, keys, mayBeRepaired } = call.upstream;
  const { viewer } = call.caller;
  const request = {
    callId: call.id,
    path: call.prompt.path,
    body: call.prompt.body(call.model.id, call.maxTokens, call.streamed),
    metadata: spendMetadata(call, deps.installation),
    timeoutMs: deps.totalMs,
    signal,
  };
  const ask = async (): Promise<UpstreamError | null> => {
    try {
      await client.run({ ...request, apiKey: await keys.keyFor(viewer) }, answer);
      return null;
    } catch (error) {
      if (signal.aborted) return new UpstreamError('ABORTED', 'stopped');
      return error instanceof UpstreamError ? error : mapNetworkError(error, answer.firstPieceAt !== null);
    }
  };
  const error = await ask();
  const isOutdated = error?.kind === 'ACCESS_DENIED' || error?.kind === 'KEY_REJECTED';
  if (!isOutdated || !mayBeRepaired) return error;
  try {
    await keys.repair(viewer);
  } catch (cause) {
    const text = 'the proxy could not be told about the plan or the key';
    return new UpstreamError('MODEL_UNAVAILABLE', text, {
      retryable: true,
      retryAfterMs: 2_000,
      origin: 'PROXY',
      cause,
    });
  }
  return ask();
}

function spendMetadata(
  { id, caller: { viewer }, operation, projectId, facts, traceId }: AdmittedCall,
  installation: string,
): SpendMetadata {
  return {
    weir: {
      installation,
      call: id,
      org: viewer.organizationId,
      user: viewer.userId,
      project: projectId ?? undefined,
      token: viewer.tokenId ?? undefined,
      operation: facts.operation,
      door: facts.door,
      scenario: operation.request.scenario,
    },
    trace_id: traceId,
  };
}
