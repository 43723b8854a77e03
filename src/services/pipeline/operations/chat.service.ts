import type { CallContext } from '../../../domain/call';
import type { ChatInput } from '../../../domain/chat';
import type { ChatReply } from '../../../domain/outcome';
import type { Viewer } from '../../../domain/principal';
import type { Refusal } from '../../../domain/refusal';
import type { ActiveStream, StreamEvent } from '../../../domain/stream-events';
import type { Pipeline } from '../pipeline';
import { ChatOperation, type ChatSources } from './chat';

/** Chats, for doors: makes the operation and has the pipeline run it. */
export class ChatService {
  constructor(private readonly deps: { pipeline: Pipeline; sources: ChatSources }) {}

  /** A whole answer. Throws BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE. */
  chat(viewer: Viewer, input: ChatInput, context: CallContext): Promise<ChatReply | Refusal> {
    return this.deps.pipeline.call(viewer, () => new ChatOperation(input, this.deps.sources), context);
  }

  /**
   * Throws BAD_USER_INPUT, NOT_FOUND before anything is spent; admission happens on the first `next()`, and refusals
   * are events.
   */
  stream(viewer: Viewer, input: ChatInput, context: CallContext): Promise<AsyncIterableIterator<StreamEvent>> {
    return this.deps.pipeline.stream(viewer, () => new ChatOperation(input, this.deps.sources), context);
  }

  /**
   * The rest of one's own stream behind number `afterSeq`, then what comes. Throws NOT_FOUND, BAD_USER_INPUT,
   * SERVICE_UNAVAILABLE.
   */
  resume(viewer: Viewer, streamId: string, afterSeq: number): Promise<AsyncIterableIterator<StreamEvent>> {
    return this.deps.pipeline.resume(viewer, streamId, afterSeq);
  }

  /** Streams that run: the caller's own, or those of everybody whom the caller administers. Throws FORBIDDEN. */
  active(viewer: Viewer, everyone: boolean): Promise<ActiveStream[]> {
    return this.deps.pipeline.active(viewer, everyone);
  }

  /** Throws NOT_FOUND for streams that the caller may not stop. */
  stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }> {
    return this.deps.pipeline.stop(viewer, streamId);
  }
}
