import { Arg, ID, Int, Resolver, Root, Subscription } from 'type-graphql';
import type { RequestContext } from './context';
import type { ChatInput } from '../domain/chat';
import { ChatEventUnion } from './types/chat-event.type';
import { ChatInputType } from './types/chat.input';
import type { StreamEvent } from '../domain/stream-events';

interface Subscribed<A> {
  args: A;
  context: RequestContext;
}

@Resolver()
export class ChatStreamResolver {
  /**
   * `subscribe` is no method and its arguments are the client's, coerced by graphql-js and not yet looked at: the
   * service does that before it returns the events.
   */
  @Subscription(() => ChatEventUnion, {
    description: 'Asks a model and streams the answer. Each event of the stream is one of these.',
    subscribe: ({ args, context }: Subscribed<{ input: ChatInput }>) =>
      context.services.chat.stream(context.viewer, args.input, context),
  })
  chatStream(
    @Root() event: StreamEvent,
    @Arg('input', () => ChatInputType, { description: 'The question.' }) _input: ChatInputType,
  ): StreamEvent {
    return event;
  }

  @Subscription(() => ChatEventUnion, {
    description:
      "The rest of one of the caller's own streams, from any replica, then what comes. Its events are kept for 10 minutes (STREAM_KEPT_MS) behind its end.",
    subscribe: ({ args, context }: Subscribed<{ streamId: string; afterSeq: number }>) =>
      context.services.chat.resume(context.viewer, args.streamId, args.afterSeq),
  })
  resumeStream(
    @Root() event: StreamEvent,
    @Arg('streamId', () => ID, { description: 'Of StreamStarted.' }) _streamId: string,
    @Arg('afterSeq', () => Int, {
      defaultValue: 0,
      description: 'The `seq` of the last event that arrived; 0: from the beginning.',
    })
    _afterSeq: number,
  ): StreamEvent {
    return event;
  }
}
