import { Arg, Resolver, Root, Subscription } from 'type-graphql';
import type { RequestContext } from '../server/context';
import type { ChatEvent, ChatInput } from '../services/chat/chat.types';
import { ChatEventUnion } from './types/chat-event.type';
import { ChatInputType } from './types/chat.input';

interface Subscribed { args: { input: ChatInput }; context: RequestContext }

@Resolver()
export class ChatStreamResolver {
  /** `subscribe` is no method and its arguments are the client's, coerced by graphql-js and not yet looked at: the service does that before it returns the events. */
  @Subscription(() => ChatEventUnion, {
    description: 'Asks a model and streams the answer. Each event of the stream is one of these.',
    subscribe: ({ args, context }: Subscribed) => context.services.chat.stream(context.viewer, args.input, context),
  })
  chatStream(@Root() event: ChatEvent, @Arg('input', () => ChatInputType, { description: 'The question.' }) _input: ChatInputType): ChatEvent {
    return event;
  }
}
