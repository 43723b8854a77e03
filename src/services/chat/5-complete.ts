import { mapNetworkError, UpstreamError } from '../litellm/map-error';
import { completionBody } from '../litellm/request-body';
import type { ModelUpstream } from '../litellm/upstream.types';
import type { Viewer } from '../viewer/viewer.types';
import type { HeldCall } from './4-hold';
import type { Answer } from './answer';

/** The caller's key at the proxy. In direct mode there is one key for all. */
export interface CallerKeys {
  keyFor(viewer: Viewer): Promise<string | null>;
  /** The proxy has refused what the plan allows: tells it again about key, team and models. */
  repair(viewer: Viewer): Promise<unknown>;
}

/**
 * Asks the upstream, whole or streamed; the answer collects what comes. Gives null, or what went wrong. Two refusals of the proxy say that
 * it knows less than we do (a plan was edited, its database was reset): then it is told once, and asked once more. Nothing else is tried again here.
 */
export async function complete(call: HeldCall, answer: Answer, upstream: ModelUpstream, keys: CallerKeys, timeoutMs: number, signal: AbortSignal): Promise<UpstreamError | null> {
  const { viewer } = call.principal;
  const body = completionBody(call.input, call.model.id, call.history, call.maxTokens, call.streamed);
  const metadata = { weir_call_id: call.id, weir_organization_id: viewer.organizationId, weir_user_id: viewer.userId, trace_id: call.traceId };
  const ask = async (): Promise<UpstreamError | null> => {
    try {
      await upstream.run({ callId: call.id, apiKey: await keys.keyFor(viewer), body, metadata, timeoutMs, signal }, answer);
      return null;
    } catch (error) {
      if (signal.aborted) return new UpstreamError('ABORTED', 'stopped');
      return error instanceof UpstreamError ? error : mapNetworkError(error, !answer.isEmpty);
    }
  };
  const remedy = async (): Promise<UpstreamError | null> => {
    try {
      await keys.repair(viewer);
    } catch (cause) {
      return new UpstreamError('MODEL_UNAVAILABLE', 'the proxy could not be told about the plan or the key', { retryable: true, retryAfterMs: 2_000, origin: 'PROXY', cause });
    }
    return ask();
  };
  const error = await ask();
  return error && upstream.kind === 'LITELLM' && (error.kind === 'ACCESS_DENIED' || error.kind === 'KEY_REJECTED') ? remedy() : error;
}
