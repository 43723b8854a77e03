// For networks that let no WebSocket through: server-sent events by POST (graphql-sse, distinct connections mode).
import { createClient } from 'graphql-sse';
import { resuming } from '../browser-chat/resuming.js';

/** @param {{ url: string, token: () => string | Promise<string>, silentMs?: number, resume?: import('../browser-chat/resuming.js').ResumeOptions }} options The server says something every 12 s. */
export function createEvents({ url, token, silentMs = 30_000, resume }) {
  const client = createClient({
    url,
    headers: async () => ({ authorization: `Bearer ${await token()}` }),
    retryAttempts: 0,
    fetchFn: async (/** @type {string} */ address, /** @type {RequestInit} */ init) => endSilence(await fetch(address, init), silentMs, init.signal),
  });
  return { client, subscribe: resuming((operation, sink) => client.subscribe(/** @type {any} */ (operation), sink), resume) };
}

/** A response that is said to be broken when nothing has come for so long: the network would not say so for minutes. @param {Response} response @param {number} silentMs @param {AbortSignal | null} [signal] */
function endSilence(response, silentMs, signal) {
  if (!response.body) return response;
  const reader = response.body.getReader();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  signal?.addEventListener('abort', () => clearTimeout(timer));
  const body = new ReadableStream({
    async pull(controller) {
      const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('no sign of life')), silentMs)));
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers });
}
