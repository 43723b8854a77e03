import type { Config, UpstreamConfig } from './config';
import { DirectModelSource } from './services/catalog/direct-model-source';
import { LitellmModelSource } from './services/catalog/litellm-model-source';
import type { ModelSourceClient } from './services/catalog/model-source';
import { LitellmAdmin } from './services/upstream/litellm/admin';
import { CompletionClient } from './services/upstream/litellm/client';

export interface OpenedUpstream {
  target: UpstreamConfig;
  /** null: there is no proxy, and there are no virtual keys. */
  admin: LitellmAdmin | null;
  client: CompletionClient;
  source: ModelSourceClient;
}

/** A proxy with virtual keys, or one server with one key. */
export function openUpstream(
  { upstream: target, timeouts }: Pick<Config, 'upstream' | 'timeouts'>,
  onClose: (close: () => Promise<void>) => void,
): OpenedUpstream {
  const isProxy = target.kind === 'LITELLM';
  const baseUrl = isProxy ? `${target.baseUrl}/v1` : target.baseUrl;
  const client = new CompletionClient({ kind: target.kind, baseUrl, timeouts });
  onClose(() => client.close());
  if (isProxy) {
    const admin = new LitellmAdmin({ baseUrl: target.baseUrl, masterKey: target.masterKey });
    onClose(() => admin.close());
    return { target, admin, client, source: new LitellmModelSource({ admin }) };
  }
  const source = new DirectModelSource(target);
  onClose(() => source.close());
  return { target, admin: null, client, source };
}
