import type OpenAI from 'openai';
import { mapStreamError } from './errors';
import { reasoningOf, type WithReasoning } from './read-answer';
import type { UpstreamSink } from '../upstream';
import { readUsage } from './usage-shape';
import { UpstreamError } from '../errors';
import { isHighSurrogate } from '../../../lib/surrogates';

type Chunk = OpenAI.Chat.ChatCompletionChunk & { error?: unknown };
type Choice = OpenAI.Chat.ChatCompletionChunk.Choice;
/** What an event says: a part of the answer, that this was all, or that it is no event. */
type Said = Chunk | 'DONE' | UpstreamError;

/**
 * Characters of one piece: an event may have eight million, which nobody could be shown, cut off or counted at once.
 */
const PIECE_CHARACTERS = 4 * 1024;

/** What the events of a streamed answer say, given to the sink. */
export class StreamChunks {
  /** `[DONE]` came: nothing counts that follows. */
  done = false;
  failure: UpstreamError | null = null;
  /** It said why it finished, and nothing came behind that. */
  private finished = false;
  private readonly later: Said[] = [];
  /** The model that the last chunk named. */
  private model: string | null = null;

  constructor(
    private readonly kind: 'LITELLM' | 'DIRECT',
    private readonly sink: UpstreamSink,
    private readonly signal: AbortSignal,
  ) {}

  /** The provider has said that this is all, or why it finished. */
  get isWhole(): boolean {
    return this.done || this.finished;
  }

  /** The first failure is the one that counts. */
  fail(failure: UpstreamError): void {
    this.failure ??= failure;
  }

  /** Some of what came is still to be given to the sink, step by step. */
  get hasMore(): boolean {
    return this.later.length > 0;
  }

  step(): void {
    this.take(this.later.shift()!);
  }

  event(data: string): void {
    if (this.done || this.failure || this.signal.aborted) return;
    const said = read(data);
    // No text of it is longer than the event.
    if (data.length > PIECE_CHARACTERS && !(said instanceof UpstreamError) && said !== 'DONE')
      for (const part of partsOf(said)) this.later.push(part);
    else if (this.later.length > 0) this.later.push(said);
    else this.take(said);
  }

  private take(said: Said): void {
    if (this.done || this.failure || this.signal.aborted) return;
    if (said === 'DONE') this.done = true;
    else if (said instanceof UpstreamError) this.fail(said);
    else if (typeof said === 'object' && said !== null) this.chunk(said);
  }

  private chunk(chunk: Chunk): void {
    if (chunk.error) {
      this.fail(mapStreamError(chunk.error));
      return;
    }
    // A provider that is asked directly names its own version of the model, which says nothing of ours.
    if (this.kind === 'LITELLM' && chunk.model !== this.model && typeof chunk.model === 'string') {
      this.model = chunk.model;
      this.sink.named(chunk.model);
    }
    const choice = chunk.choices?.[0];
    if (choice) this.choice(choice);
    if (chunk.usage) {
      const usage = readUsage(chunk.usage, this.kind, true, chunk.service_tier);
      if (usage) this.sink.usage(usage);
    }
  }

  private choice({ delta, finish_reason: reason }: Choice): void {
    const { sink } = this;
    if (delta) {
      if (delta.content || delta.refusal || delta.tool_calls?.length) this.finished = false;
      const reasoning = reasoningOf(delta as WithReasoning);
      if (reasoning) sink.reasoning(reasoning);
      const text = delta.content ?? delta.refusal;
      if (typeof text === 'string' && text) sink.text(text);
      for (const call of delta.tool_calls ?? [])
        sink.toolCall(
          call.index ?? 0,
          textOr(call.id, null),
          textOr(call.function?.name, null),
          textOr(call.function?.arguments, ''),
        );
    }
    if (reason) {
      this.finished = true;
      sink.finish(reason);
    }
  }
}

function read(data: string): Said {
  if (data === '[DONE]') return 'DONE';
  try {
    return JSON.parse(data) as Chunk;
  } catch (cause) {
    return new UpstreamError('INTERRUPTED', 'an event of the stream is not JSON', { retryable: true, cause });
  }
}

/** A large event as many small ones that say the same. */
function* partsOf(chunk: Chunk): Generator<Chunk> {
  const [choice] = chunk?.choices ?? [];
  const delta = choice?.delta;
  if (!choice || !delta || chunk.error) {
    yield chunk;
    return;
  }
  const part = (some: object): Chunk => ({ model: chunk.model, choices: [{ delta: some }] }) as Chunk;
  for (const piece of inPieces(reasoningOf(delta as WithReasoning))) yield part({ reasoning_content: piece });
  for (const piece of inPieces(delta.content ?? delta.refusal)) yield part({ content: piece });
  for (const call of delta.tool_calls ?? []) {
    const more = inPieces(call.function?.arguments);
    yield part({ tool_calls: [{ ...call, function: { ...call.function, arguments: more.next().value ?? '' } }] });
    for (const piece of more) yield part({ tool_calls: [{ index: call.index, function: { arguments: piece } }] });
  }
  yield { ...chunk, choices: [{ ...choice, delta: {} }] };
}

/** Not through a sign of two units. */
function* inPieces(text: unknown): Generator<string, undefined> {
  if (typeof text !== 'string') return;
  for (let from = 0; from < text.length;) {
    let to = from + PIECE_CHARACTERS;
    if (to < text.length && isHighSurrogate(text.charCodeAt(to - 1))) to -= 1;
    yield text.slice(from, to);
    from = to;
  }
}

const textOr = <T>(value: unknown, otherwise: T): string | T => (typeof value === 'string' ? value : otherwise);
