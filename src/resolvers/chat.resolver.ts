import { Arg, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { RequestContext } from './context';
import type { Plan } from '../domain/plan';
import { callOf, conversationOf, planOf } from './loaders';
import { toCost, toTokenUsage } from './map';
import { CostType, TokenUsageType } from './types/call.type';
import { ChatInputType } from './types/chat.input';
import { ActiveStreamType, ChatReplyType, ChatResult, StopStreamPayloadType } from './types/chat.result';
import { MessageType } from './types/conversation.type';
import { PlanType } from './types/plan.type';
import { ModelNotAllowedType } from './types/refusal.type';
import type { ChatReply } from '../domain/outcome';
import type { Refusal } from '../domain/refusal';

@Resolver(() => ChatReplyType)
export class ChatResolver {
  @Mutation(() => ChatResult, { description: 'Asks a model and waits for the whole answer.' })
  chat(
    @Arg('input', () => ChatInputType, { description: 'The question.' }) input: ChatInputType,
    @Ctx() context: RequestContext,
  ): Promise<typeof ChatResult> {
    return context.services.chat.chat(context.viewer, input, context);
  }

  @Mutation(() => StopStreamPayloadType, {
    description:
      'Ends a stream from any device: the upstream is aborted, what was produced is kept and counted. Repeating it is harmless.',
  })
  stopStream(
    @Arg('streamId', () => ID, { description: 'The stream.' }) streamId: string,
    @Ctx() context: RequestContext,
  ): Promise<StopStreamPayloadType> {
    return context.services.chat.stop(context.viewer, streamId);
  }

  @Query(() => [ActiveStreamType], {
    description:
      'Streams that run now, on any replica, newest first (at most 1000): the own ones. `everyone`: those of the organisation, for administrators; of all organisations, for operators.',
  })
  async activeStreams(
    @Arg('everyone', () => Boolean, {
      defaultValue: false,
      description: 'Also those of others. Administrators and operators.',
    })
    everyone: boolean,
    @Ctx() context: RequestContext,
  ): Promise<ActiveStreamType[]> {
    const streams = await context.services.chat.active(context.viewer, everyone);
    return streams.map((stream) => {
      callOf(context).prime(stream.call.id, stream.call);
      return stream as unknown as ActiveStreamType;
    });
  }

  @FieldResolver(() => MessageType, { description: 'The answer.' })
  answer(@Root() reply: ChatReply, @Ctx() context: RequestContext): MessageType {
    // The reply holds what the answer's own relations ask for: nothing is read twice.
    callOf(context).prime(reply.call.id, reply.call);
    if (reply.conversation) conversationOf(context).prime(reply.conversation.id, reply.conversation);
    return reply.answer;
  }

  @FieldResolver(() => TokenUsageType, { description: 'What it used.' })
  usage(@Root() reply: ChatReply): TokenUsageType {
    return toTokenUsage(reply.usage, reply.usage.source);
  }

  @FieldResolver(() => CostType, { nullable: true, description: 'What it cost; null: no price known.' })
  cost(@Root() reply: ChatReply): CostType | null {
    return toCost(reply.cost);
  }
}

@Resolver(() => ModelNotAllowedType)
export class ModelNotAllowedResolver {
  @FieldResolver(() => [PlanType], { description: 'Plans whose users may use the model.' })
  async plansThatAllow(
    @Root() refusal: Extract<Refusal, { kind: 'ModelNotAllowed' }>,
    @Ctx() context: RequestContext,
  ): Promise<PlanType[]> {
    const plans = await Promise.all(refusal.plansThatAllow.map((id) => planOf(context).load(id)));
    return plans.filter((plan): plan is Plan => plan !== null);
  }
}
