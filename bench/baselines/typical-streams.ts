import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { makeExecutableSchema } from '@graphql-tools/schema';
import { useServer } from 'graphql-ws/use/ws';
import OpenAI from 'openai';
import { DataSource } from 'typeorm';
import { WebSocketServer } from 'ws';
import { ApiToken, CallInFlight, LlmUsage, User } from './typical-entities';

/**
 * Streams as most teams write them first: an async generator over the OpenAI SDK behind graphql-ws, an event for each
 * token. The rows of a call are those of `typical.ts`. Arguments: port; environment: DATABASE_URL, LLM_BASE_URL.
 */
const typeDefs = `
  type Query { ok: Boolean }
  interface StreamEvent { fromSeq: Int! seq: Int! }
  type StreamStarted implements StreamEvent { fromSeq: Int! seq: Int! streamId: ID! }
  type TextDelta implements StreamEvent { fromSeq: Int! seq: Int! text: String! }
  type Usage { completionTokens: Int! }
  type Reply { finishReason: String! usage: Usage! }
  type StreamCompleted implements StreamEvent { fromSeq: Int! seq: Int! reply: Reply! }
  type Refusal { code: String! message: String! }
  type StreamFailed implements StreamEvent { fromSeq: Int! seq: Int! refusal: Refusal! }
  type StreamRefused implements StreamEvent { fromSeq: Int! seq: Int! refusal: Refusal! }
  union StreamEvent = StreamStarted | TextDelta | StreamCompleted | StreamFailed | StreamRefused
  input MessageInput { role: String! content: String! }
  input ChatInput { model: ID! messages: [MessageInput!]! maxTokens: Int }
  type Subscription { chatStream(input: ChatInput!): StreamEvent! }
`;

interface ChatArgs {
  input: { model: string; messages: { role: string; content: string }[]; maxTokens?: number };
}

async function main(): Promise<void> {
  const dataSource = new DataSource({
    type: 'postgres',
    url: process.env.DATABASE_URL,
    poolSize: 10,
    synchronize: false,
    entities: [User, ApiToken, CallInFlight, LlmUsage],
  });
  await dataSource.initialize();
  const tokens = dataSource.getRepository(ApiToken);
  const inFlight = dataSource.getRepository(CallInFlight);
  const usages = dataSource.getRepository(LlmUsage);
  const openai = new OpenAI({ baseURL: process.env.LLM_BASE_URL, apiKey: 'none', maxRetries: 0 });

  async function* stream({ input }: ChatArgs, { user, id: tokenId }: ApiToken): AsyncGenerator<{ chatStream: object }> {
    const started = Date.now();
    const call = await inFlight.save(
      inFlight.create({
        id: randomUUID(),
        occurredAt: new Date(started),
        organizationId: user.organizationId,
        userId: user.id,
        tokenId,
        scenario: 'DEFAULT',
        door: 'GRAPHQL',
        operation: 'CHAT',
        traceId: randomUUID(),
        model: input.model,
        upstream: 'DIRECT',
        streamed: true,
        maxTokens: input.maxTokens ?? 4096,
        promptTokensEstimate: 24,
        owner: 'typical',
        deadlineAt: new Date(started + 600_000),
      }),
    );
    let seq = 1;
    yield { chatStream: { __typename: 'StreamStarted', fromSeq: seq, seq, streamId: call.id } };
    const chunks = await openai.chat.completions.create({
      model: input.model,
      max_tokens: input.maxTokens ?? 4096,
      stream: true,
      stream_options: { include_usage: true },
      messages: input.messages.map(({ role, content }) => ({ role: role.toLowerCase() as 'user', content })),
    });
    let usage: OpenAI.CompletionUsage | null = null;
    let finishReason = 'stop';
    let content = '';
    for await (const chunk of chunks) {
      const choice = chunk.choices[0];
      finishReason = choice?.finish_reason ?? finishReason;
      usage = chunk.usage ?? usage;
      const text = choice?.delta.content;
      if (!text) continue;
      content += text;
      seq += 1;
      yield { chatStream: { __typename: 'TextDelta', fromSeq: seq, seq, text } };
    }
    await usages.save(
      usages.create({
        id: call.id,
        occurredAt: call.occurredAt,
        organizationId: call.organizationId,
        userId: call.userId,
        tokenId: call.tokenId,
        scenario: call.scenario,
        door: 'GRAPHQL',
        operation: 'CHAT',
        traceId: call.traceId,
        streamed: true,
        model: call.model,
        servedModel: input.model,
        upstream: 'DIRECT',
        attempts: 1,
        status: 'COMPLETED',
        finishReason,
        uncachedPromptTokens: usage!.prompt_tokens,
        cacheReadTokens: 0,
        cacheWriteTokens: 0,
        cacheWriteOneHourTokens: 0,
        outputTokens: usage!.completion_tokens,
        reasoningTokens: 0,
        usageSource: 'PROVIDER',
        rawUsage: { ...usage!, characters: content.length },
        latencyMs: Date.now() - started,
      }),
    );
    await inFlight.delete({ id: call.id });
    seq += 1;
    yield {
      chatStream: {
        __typename: 'StreamCompleted',
        fromSeq: seq,
        seq,
        reply: { finishReason, usage: { completionTokens: usage!.completion_tokens } },
      },
    };
  }

  const schema = makeExecutableSchema({
    typeDefs,
    resolvers: {
      Subscription: {
        chatStream: {
          subscribe: (_: unknown, args: ChatArgs, context: { token: ApiToken }) => stream(args, context.token),
        },
      },
    },
  });
  const server = http.createServer((_, response) => void response.end('ok'));
  useServer(
    {
      schema,
      context: async ({ connectionParams }) => {
        const secret = String(connectionParams?.Authorization ?? '').replace(/^Bearer /, '');
        const token = await tokens.findOne({
          where: { hash: createHash('sha256').update(secret).digest() },
          relations: { user: true },
        });
        if (!token || token.revokedAt || token.user.blocked) throw new Error('Unauthenticated');
        return { token };
      },
    },
    new WebSocketServer({ server, path: '/graphql' }),
  );
  server.listen(Number(process.argv[2]), '127.0.0.1');
  await once(server, 'listening');
}

void main();
