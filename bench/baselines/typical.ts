import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginDrainHttpServer } from '@apollo/server/plugin/drainHttpServer';
import { expressMiddleware } from '@as-integrations/express5';
import express from 'express';
import { GraphQLError } from 'graphql';
import OpenAI from 'openai';
import { DataSource } from 'typeorm';
import { ApiToken, CallInFlight, LlmUsage, User } from './typical-entities';

/**
 * The same product as most teams write it first: Apollo on express, TypeORM repositories, the OpenAI SDK. Same
 * versions, pool size, tables and production settings as the real one, and the same work for a chat: who is it, a row
 * before the call, the call, a usage row, the first row removed. Arguments: port; environment: DATABASE_URL,
 * LLM_BASE_URL.
 */
const typeDefs = `#graphql
  type Viewer { id: ID! role: String! }
  type Usage { promptTokens: Int! completionTokens: Int! totalTokens: Int! }
  type Call { id: ID! status: String! }
  type Answer { role: String! content: String }
  type ChatReply { call: Call! answer: Answer! finishReason: String! usage: Usage! latencyMs: Int! }
  input MessageInput { role: String! content: String! }
  input ChatInput { model: ID! messages: [MessageInput!]! maxTokens: Int }
  type Query { viewer: Viewer! }
  type Mutation { chat(input: ChatInput!): ChatReply! }
`;

interface Context {
  token: ApiToken;
}
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

  const resolvers = {
    Query: { viewer: (_: unknown, __: unknown, { token }: Context) => token.user },
    Mutation: {
      chat: async (_: unknown, { input }: ChatArgs, { token }: Context) => {
        const { user } = token;
        const started = Date.now();
        const call = await inFlight.save(
          inFlight.create({
            id: randomUUID(),
            occurredAt: new Date(started),
            organizationId: user.organizationId,
            userId: user.id,
            tokenId: token.id,
            scenario: 'DEFAULT',
            door: 'GRAPHQL',
            operation: 'CHAT',
            traceId: randomUUID(),
            model: input.model,
            upstream: 'DIRECT',
            streamed: false,
            maxTokens: input.maxTokens ?? 4096,
            promptTokensEstimate: 24,
            owner: 'typical',
            deadlineAt: new Date(started + 600_000),
          }),
        );
        const completion = await openai.chat.completions.create({
          model: input.model,
          max_tokens: input.maxTokens ?? 4096,
          messages: input.messages.map(({ role, content }) => ({ role: role.toLowerCase() as 'user', content })),
        });
        const choice = completion.choices[0]!;
        const usage = completion.usage!;
        const latencyMs = Date.now() - started;
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
            streamed: false,
            model: call.model,
            servedModel: completion.model,
            upstream: 'DIRECT',
            attempts: 1,
            status: 'COMPLETED',
            finishReason: choice.finish_reason,
            uncachedPromptTokens: usage.prompt_tokens,
            cacheReadTokens: 0,
            cacheWriteTokens: 0,
            cacheWriteOneHourTokens: 0,
            outputTokens: usage.completion_tokens,
            reasoningTokens: 0,
            usageSource: 'PROVIDER',
            rawUsage: usage,
            latencyMs,
          }),
        );
        await inFlight.delete({ id: call.id });
        return {
          call: { id: call.id, status: 'COMPLETED' },
          answer: { role: 'ASSISTANT', content: choice.message.content },
          finishReason: choice.finish_reason,
          usage: {
            promptTokens: usage.prompt_tokens,
            completionTokens: usage.completion_tokens,
            totalTokens: usage.total_tokens,
          },
          latencyMs,
        };
      },
    },
  };

  const app = express();
  const httpServer = http.createServer(app);
  const server = new ApolloServer<Context>({
    typeDefs,
    resolvers,
    introspection: false,
    includeStacktraceInErrorResponses: false,
    plugins: [ApolloServerPluginDrainHttpServer({ httpServer })],
  });
  await server.start();
  app.use(
    '/graphql',
    express.json(),
    expressMiddleware(server, {
      context: async ({ req }) => {
        const secret = req.headers.authorization?.replace(/^Bearer /, '') ?? '';
        const token = await tokens.findOne({
          where: { hash: createHash('sha256').update(secret).digest() },
          relations: { user: true },
        });
        if (!token || token.revokedAt || token.user.blocked)
          throw new GraphQLError('Unauthenticated', { extensions: { code: 'UNAUTHENTICATED', http: { status: 401 } } });
        return { token };
      },
    }),
  );
  httpServer.keepAliveTimeout = 0;
  httpServer.listen(Number(process.argv[2]), '127.0.0.1');
  await once(httpServer, 'listening');
}

void main();
