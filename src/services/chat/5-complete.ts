import { mapNetworkError, UpstreamError } from '../litellm/map-error';
import { completionBody } from '../litellm/request-body';
import type { ModelUpstream, SpendMetadata } from '../litellm/upstream.types';
import type { Viewer } from '../viewer/viewer.types';
import type { HeldCall } from './4-hold';
import type { Answer } from './answer';

/** The caller's key at the proxy. In direct mode there is one key for all. */
export interface CallerKeys {
  keyFor(viewer: Viewer): Promise<string | null>;
  /** The proxy has refused what the plan allows: tells it again about key, team and models. */
  repair(viewer: Viewer): Promise<unknown>;
}

export interface CompleteDeps { upstream: ModelUpstream; keys: CallerKeys; totalMs: number; installation: string }

/**
 * Asks the upstream, whole or streamed; the answer collects what comes. Gives null, or what went wrong. Two refusals of the proxy say that
 * it knows less than we do (a plan was edited, its database was reset): then it is told once, and asked once more. Nothing else is tried again here.
 */
export async function complete(call: HeldCall, answer: Answer, deps: CompleteDeps, signal: AbortSignal): Promise<UpstreamError | null> {
  const { upstream, keys } = deps;
  const { viewer } = call.principal;
  const body = completionBody(call.input, call.model.id, call.history, call.maxTokens, call.streamed);
  const metadata = spendMetadata(call, deps.installation);
  const ask = async (): Promise<UpstreamError | null> => {
    try {
      const apiKey = await keys.keyFor(viewer);
      await upstream.run({ callId: call.id, apiKey, body, metadata, timeoutMs: deps.totalMs, signal }, answer);
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

function spendMetadata({ id, principal: { viewer }, input, conversation, facts, traceId }: HeldCall, installation: string): SpendMetadata {
  const project = input.projectId ?? conversation?.conversation.projectId ?? undefined;
  const whose = { installation, call: id, org: viewer.organizationId, user: viewer.userId, project, token: viewer.tokenId ?? undefined };
  return { weir: { ...whose, operation: facts.operation, door: facts.door, scenario: input.scenario }, trace_id: traceId };
}
