import { notFound } from '../../errors';
import { AbortableIterator } from '../../lib/abortable-iterator';
import { callIdOfStream, kindOfId, streamIdOfCall } from '../../lib/ids';
import type { ConversationService } from '../conversation/conversation.service';
import type { RunningCalls } from '../running-calls';
import type { ChatServiceApi, PeopleServiceApi, PlanServiceApi, UsageServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';
import { authenticate } from './1-authenticate';
import { chooseModel } from './2-route';
import { boundMaxTokens, refuseByPlan } from './3-plan';
import { hold, type HeldCall, type PreparedCall } from './4-hold';
import { joinEvents, LiveStream } from './6-stream';
import { CallRun, type CallOutcome, type CallRunDeps } from './call-run';
import type { CallStore } from './call.store';
import type { CallContext, ChatEvent, ChatInput, ChatReply, Refusal } from './chat.types';
import { fitHistory } from './history';
import type { RemoteStops } from './remote-stops';
import { contextTooLong, modelsWithRoomFor } from './refusals';
import { validateChatInput } from './validate-input';

export interface ChatDeps {
  plans: PlanServiceApi;
  people: Pick<PeopleServiceApi, 'visibleProject'>;
  conversations: Pick<ConversationService, 'branch'>;
  usage: Pick<UsageServiceApi, 'call'>;
  store: CallStore;
  running: RunningCalls;
  /** For streams of other replicas. */
  remoteStops: Pick<RemoteStops, 'stop'>;
  run: CallRunDeps;
  loopLoad: { readonly current: number };
  /** LLM_MODEL_CHAT. */
  defaultModel: string | null;
  /** Names this process in the rows of its running calls. */
  owner: string;
}

const isRefusal = (value: PreparedCall | Refusal): value is Refusal => 'code' in value;

/** The data path: authenticate → route → plan → hold → complete | stream → settle. Everything that reaches a model goes through here. */
export class ChatService implements ChatServiceApi {
  constructor(private readonly deps: ChatDeps) {}

  /** A whole answer. It is finished and booked also when the client has hung up: it is paid for by then. Throws BAD_USER_INPUT, NOT_FOUND, SERVICE_UNAVAILABLE. */
  async chat(viewer: Viewer, input: ChatInput, context: CallContext): Promise<ChatReply | Refusal> {
    const prepared = await this.prepare(viewer, input, context);
    if (isRefusal(prepared)) return prepared;
    const run = await this.begin(prepared, false, (call) => new CallRun(call, this.deps.run));
    const outcome = await run.outcome;
    return outcome.status === 'FAILED' ? outcome.refusal : outcome.reply;
  }

  /** A streamed answer. What is wrong with the input is thrown here, before anything is spent; the rest happens on the first `next()` and is told in events. */
  async stream(viewer: Viewer, input: ChatInput, context: CallContext): Promise<AsyncIterableIterator<ChatEvent>> {
    const prepared = await this.prepare(viewer, input, context);
    let run: CallRun | null = null;
    let left = false;
    const stream = new LiveStream(() => run?.stop('DISCONNECT'), this.deps.loopLoad);
    const events: AbortableIterator<ChatEvent> = new AbortableIterator<ChatEvent>(
      {
        start: () => {
          stream.attach(events);
          if (isRefusal(prepared)) stream.end({ kind: 'StreamRefused', refusal: prepared });
          else
            this.startStream(prepared, stream, (started) => {
              run = started;
              // The client may have gone while the call was being written down.
              if (left) started.stop('DISCONNECT');
            }).catch((error: unknown) => stream.fail(error));
        },
        onLeave: () => {
          left = true;
          stream.leave(events);
        },
      },
      joinEvents,
    );
    return events;
  }

  /** Throws NOT_FOUND, and SERVICE_UNAVAILABLE when the replica that runs the stream does not react. */
  async stop(viewer: Viewer, streamId: string): Promise<{ streamId: string; stopped: boolean }> {
    if (kindOfId(streamId) !== 'stream') throw notFound('streamId');
    const callId = callIdOfStream(streamId);
    const running = this.deps.running.find(callId);
    if (running?.streamed && mayStop(viewer, running.viewer)) {
      running.stop(running.viewer.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR');
      await running.done;
      return { streamId, stopped: true };
    }
    const call = running ? null : await this.deps.usage.call(viewer, callId);
    if (!call?.streamed || !mayStop(viewer, call)) throw notFound('streamId');
    if (call.status !== 'RUNNING') return { streamId, stopped: false };
    return { streamId, stopped: await this.deps.remoteStops.stop(callId, call.userId === viewer.userId ? 'CLIENT' : 'ADMINISTRATOR') };
  }

  /** Steps 1 to 3: everything that can be decided without spending anything. */
  private async prepare(viewer: Viewer, input: ChatInput, context: CallContext): Promise<PreparedCall | Refusal> {
    const startedAt = performance.now();
    validateChatInput(input);
    const { deps } = this;
    deps.running.assertAccepting();
    const principal = await authenticate(viewer, deps.plans);
    const catalog = deps.run.catalog.snapshot();
    const route = chooseModel(principal, input, deps.defaultModel, catalog);
    const refused = refuseByPlan(principal.plan, route, catalog, await deps.plans.list());
    if (refused) return refused;
    const model = route.served!;
    const maxTokens = boundMaxTokens(principal.plan, model, input);
    if (input.projectId) await this.checkProject(viewer, input.projectId);
    const branch = input.conversationId ? await deps.conversations.branch(viewer, input.conversationId, input.afterMessageId ?? null) : null;
    const fitted = fitHistory(branch?.messages ?? [], input, model.contextWindow, maxTokens);
    if (fitted.tooLong) return contextTooLong(fitted.tooLong.countedTokens, fitted.tooLong.allowedTokens, modelsWithRoomFor(principal.plan, catalog, fitted.tooLong.countedTokens));
    const conversation = branch && { conversation: branch.conversation, ids: branch.ids };
    return { principal, input, context, model, maxTokens, conversation, history: fitted.history, omittedMessages: fitted.omitted + (branch?.omitted ?? 0), startedAt };
  }

  /** An operator sees the projects of others, but a call is booked in one's own organisation. */
  private async checkProject(viewer: Viewer, projectId: string): Promise<void> {
    const project = await this.deps.people.visibleProject(viewer, projectId);
    if (project?.organizationId !== viewer.organizationId) throw notFound('input.projectId');
  }

  /** Step 4, and the call runs. */
  private async begin(prepared: PreparedCall, streamed: boolean, start: (call: HeldCall) => CallRun): Promise<CallRun> {
    const { deps } = this;
    const call = await hold(prepared, deps.store, { owner: deps.owner, upstream: deps.run.upstream.kind, totalMs: deps.run.totalMs, streamed });
    const run = start(call);
    deps.running.add(run);
    return run;
  }

  private async startStream(prepared: PreparedCall, stream: LiveStream, onRun: (run: CallRun) => void): Promise<void> {
    const run = await this.begin(prepared, true, (call) => {
      stream.start({ kind: 'StreamStarted', streamId: streamIdOfCall(call.id), callId: call.id, model: call.model.id, conversation: call.conversation?.conversation ?? null });
      return new CallRun(call, this.deps.run, (piece) => stream.piece(piece));
    });
    onRun(run);
    stream.end(terminalEvent(await run.outcome));
  }
}

function terminalEvent(outcome: CallOutcome): Parameters<LiveStream['end']>[0] {
  switch (outcome.status) {
    case 'COMPLETED':
      return { kind: 'StreamCompleted', reply: outcome.reply };
    case 'STOPPED':
      return { kind: 'StreamStopped', reason: outcome.reason, reply: outcome.reply };
    case 'FAILED':
      return { kind: 'StreamFailed', refusal: outcome.refusal, partial: outcome.partial };
  }
}

/** One's own; administrators those of their organisation; operators all. */
const mayStop = (viewer: Viewer, owner: Pick<Viewer, 'userId' | 'organizationId'>): boolean =>
  viewer.userId === owner.userId || viewer.role === 'OPERATOR' || (viewer.role === 'ADMIN' && viewer.organizationId === owner.organizationId);
