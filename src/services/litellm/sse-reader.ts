import type { Readable } from 'node:stream';
import { createParser } from 'eventsource-parser';
import type OpenAI from 'openai';
import { mapStreamError, UpstreamError } from './map-error';
import { reasoningOf, type WithReasoning } from './read-answer';
import type { UpstreamSink } from './upstream.types';
import { readUsage } from './usage-shape';

/**
 * Reads a streamed answer (server-sent events, `data: [DONE]` at the end) and gives it to the sink piece by piece, synchronously with the
 * bytes. A stream that ends before the provider said why it finished, or without `[DONE]` after an error object, was interrupted.
 */
export class SseReader {
  private readonly decoder = new TextDecoder('utf-8');
  private done = false;
  private finished = false;
  private failure: UpstreamError | null = null;
  /** Bytes since the last whole event. */
  private unparsed = 0;

  constructor(
    private readonly kind: 'LITELLM' | 'DIRECT',
    private readonly maxEventBytes: number,
    private readonly sink: UpstreamSink,
    private readonly onBytes: () => void,
  ) {}

  read(body: Readable): Promise<void> {
    const parser = createParser({ onEvent: (event) => this.event(event.data) });
    const feed = (text: string): void => {
      try {
        parser.feed(text);
      } catch (cause) {
        // An exception in a socket's handler would end the process, and with it everybody's streams.
        this.failure ??= new UpstreamError('INTERRUPTED', 'an event of the stream is not what the protocol says', { retryable: true, cause });
      }
    };
    return new Promise((resolve, reject) => {
      const end = (error: unknown): void => {
        if (error) reject(error);
        else resolve();
        body.destroy();
      };
      body.on('data', (chunk: Buffer) => {
        this.onBytes();
        this.unparsed += chunk.length;
        feed(this.decoder.decode(chunk, { stream: true }));
        if (this.unparsed > this.maxEventBytes) this.failure ??= new UpstreamError('INTERRUPTED', `an event larger than ${this.maxEventBytes} bytes`);
        if (this.failure) end(this.failure);
      });
      // With the provider's finish in hand the answer is whole, and only its usage may be missing.
      const cut = (error: unknown): void => (this.finished && !this.failure ? resolve() : reject(error));
      body.on('error', cut);
      body.on('end', () => {
        // The end of the stream ends the last event too, with or without its empty line.
        feed('\n\n');
        end(this.failure ?? (this.done || this.finished ? null : new UpstreamError('INTERRUPTED', 'the stream ended before the answer did', { retryable: true })));
      });
      // A socket that is cut ends neither: undici then closes without `end`.
      body.on('close', () => cut(new UpstreamError('INTERRUPTED', 'the connection was closed in the middle of the answer', { retryable: true })));
    });
  }

  private event(data: string): void {
    this.unparsed = 0;
    if (this.done || this.failure) return;
    if (data === '[DONE]') {
      this.done = true;
      return;
    }
    let chunk: OpenAI.Chat.ChatCompletionChunk & { error?: unknown };
    try {
      chunk = JSON.parse(data);
    } catch (cause) {
      this.failure = new UpstreamError('INTERRUPTED', 'an event of the stream is not JSON', { retryable: true, cause });
      return;
    }
    if (typeof chunk !== 'object' || chunk === null) return;
    if (chunk.error) {
      this.failure = mapStreamError(chunk.error);
      return;
    }
    const choice = chunk.choices?.[0];
    if (choice) this.choice(choice);
    if (chunk.usage) {
      const usage = readUsage(chunk.usage, this.kind, true, chunk.service_tier);
      if (usage) this.sink.usage(usage);
    }
  }

  private choice(choice: OpenAI.Chat.ChatCompletionChunk.Choice): void {
    const { delta } = choice;
    if (delta) {
      const reasoning = reasoningOf(delta as WithReasoning);
      if (reasoning) this.sink.reasoning(reasoning);
      const text = delta.content ?? delta.refusal;
      if (typeof text === 'string' && text) this.sink.text(text);
      for (const call of delta.tool_calls ?? []) this.sink.toolCall(call.index ?? 0, call.id ?? null, call.function?.name ?? null, call.function?.arguments ?? '');
    }
    if (choice.finish_reason) {
      this.finished = true;
      this.sink.finish(choice.finish_reason);
    }
  }
}
