import { readFileSync } from 'node:fs';
import { GraphQLError, GraphQLScalarType, Kind, type GraphQLSchema } from 'graphql';
import { makeExecutableSchema } from '@graphql-tools/schema';
import type { Config } from '../../src/config';
import { AppError } from '../../src/errors';
import type { Logger } from '../../src/lib/logger';
import { AbortableIterator, type Sink } from '../../src/lib/abortable-iterator';
import type { RequestContext, Services } from '../../src/resolvers/context';
import { createServer, type GraphServer, type ServerDeps } from '../../src/server/server';
import { RunningCalls } from '../../src/services/pipeline/running-calls';
import { Metrics } from '../../src/lib/metrics';
import { SessionRevocation } from '../../src/services/auth/session-revocation';
import type { Role, Viewer } from '../../src/domain/principal';
import { memoryLogger } from './log';

/** A small graph with one of everything that the doors have to get right. */
const SDL = `
  scalar Upper
  enum Colour { RED GREEN }
  input Inner { text: String! colour: Colour upper: Upper }
  input Outer { inner: [Inner!]! }
  interface Animal { name: String! }
  type Cat implements Animal { name: String! lives: Int! }
  type Dog implements Animal { name: String! owner: Person }
  type Person { name: String! pet: Animal friends: [Person!]! broken: String! }
  union Thing = Cat | Dog
  type Page { edges: [Person!]! }
  type Query {
    hello: String!
    text(length: Int!): String!
    colour: Colour!
    upper(value: Upper!): Upper!
    take(input: Outer!): String!
    person: Person
    people(first: Int! = 3): [Person!]!
    page(first: Int! = 20): Page!
    thing(dog: Boolean! = false): Thing
    fails(how: String!): String
    strictlyFails: String!
  }
  type Mutation { touch: String! fail: String! }
  interface StreamEvent { fromSeq: Int! seq: Int! }
  type StreamStarted implements StreamEvent { fromSeq: Int! seq: Int! streamId: ID! person: Person }
  type TextDelta implements StreamEvent { fromSeq: Int! seq: Int! text: String! }
  type ReasoningDelta implements StreamEvent { fromSeq: Int! seq: Int! text: String! }
  type ToolCallDelta implements StreamEvent { fromSeq: Int! seq: Int! index: Int! toolCallId: String name: String arguments: String! }
  type StreamCompleted implements StreamEvent { fromSeq: Int! seq: Int! person: Person }
  union ChatEvent = StreamStarted | TextDelta | ReasoningDelta | ToolCallDelta | StreamCompleted
  type Subscription { chatStream(input: Inner): ChatEvent! }
`;

const Upper = new GraphQLScalarType({
  name: 'Upper',
  serialize: (value) => String(value).toUpperCase(),
  parseValue: (value) => {
    if (typeof value !== 'string' || value !== value.toLowerCase()) throw new GraphQLError('Upper takes lower case');
    return { lower: value };
  },
  parseLiteral: (node) => {
    if (node.kind !== Kind.STRING || node.value !== node.value.toLowerCase())
      throw new GraphQLError('Upper takes lower case');
    return { lower: node.value };
  },
});

const tom = { kind: 'Cat', name: 'Tom', lives: 9 };
const rex = { kind: 'Dog', name: 'Rex', owner: { name: 'Ann', friends: [] } };
const ann = {
  name: 'Ann',
  pet: tom,
  friends: [
    { name: 'Bob', pet: rex, friends: [] },
    { name: 'Eve', pet: null, friends: [] },
  ],
};

export const FAILURES: Record<string, () => unknown> = {
  forbidden: () => new AppError('FORBIDDEN', { public: 'This needs the role ADMIN.' }),
  argument: () => new AppError('BAD_USER_INPUT', { argument: 'input.x', public: 'input.x: too long' }),
  unknown: () => new Error('password=hunter22 at postgres://weir:s3cretpass@db/weir'),
  database: () => Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), { code: 'ECONNREFUSED' }),
  notAnError: () => 'just a text',
};

export function tinySchema(): GraphQLSchema {
  const fail = (how: string): never => {
    throw FAILURES[how]!();
  };
  return makeExecutableSchema<RequestContext>({
    typeDefs: SDL,
    resolvers: {
      Upper,
      Animal: { __resolveType: (value: { kind: string }) => value.kind },
      Thing: { __resolveType: (value: { kind: string }) => value.kind },
      ChatEvent: { __resolveType: (value: { kind: string }) => value.kind },
      StreamEvent: { __resolveType: (value: { kind: string }) => value.kind },
      Query: {
        hello: (_root, _args, context) => `hello ${context.viewer.userId}`,
        text: (_root, { length }: { length: number }) => 'x'.repeat(length),
        colour: () => 'GREEN',
        upper: (_root, { value }: { value: { lower: string } }) => value.lower,
        take: async (_root, args) => JSON.stringify(args),
        person: async () => ann,
        people: async (_root, { first }: { first: number }) =>
          Array.from({ length: first }, (_, i) => ({ ...ann, name: `Person ${i}` })),
        page: async (_root, { first }: { first: number }) => ({ edges: Array.from({ length: first }, () => ann) }),
        thing: (_root, { dog }: { dog: boolean }) => (dog ? rex : tom),
        fails: async (_root, { how }: { how: string }) => fail(how),
        strictlyFails: async () => fail('database'),
      },
      Person: { broken: async () => fail('unknown') },
      Mutation: { touch: async () => 'touched', fail: async () => fail('forbidden') },
      Subscription: {
        chatStream: {
          subscribe: (_root: unknown, args: { input?: unknown }, context: RequestContext) =>
            context.services.chat.stream(context.viewer, args.input as never, context),
          resolve: (event: unknown) => event,
        },
      },
    },
  });
}

export const viewerOf = (userId: string, fields: Partial<Viewer> = {}): Viewer => ({
  userId,
  organizationId: 'org_1',
  role: 'MEMBER' as Role,
  planId: 'pln_1',
  tokenId: `tok_${userId}`,
  sessionId: null,
  expiresAtMs: null,
  ...fields,
});

export interface TestStream {
  iterator: AbortableIterator<unknown>;
  sink: Sink<unknown>;
  left: boolean;
  context: RequestContext;
}

export interface TestServer {
  server: GraphServer;
  url: string;
  port: number;
  logger: Logger & { lines: { level: string; fields: object; message: string }[] };
  /** Tokens that are known, with their viewers. */
  viewers: Map<string, Viewer>;
  /** What the database would say has ended. */
  ended: Set<Viewer>;
  /** Streams that were begun, in order. Each begins with its first `next()`. */
  streams: TestStream[];
  /** What ends the credentials of this server's viewers. */
  accessEnds: SessionRevocation;
  close(): Promise<void>;
}

export const testConfig = (changes: Partial<Config> = {}): Config => ({
  env: 'test',
  host: '127.0.0.1',
  port: 0,
  home: '.weir',
  databaseUrl: '',
  databasePoolSize: 2,
  upstream: { kind: 'DIRECT', baseUrl: 'http://127.0.0.1:9/v1', apiKey: null, provider: 'direct' },
  defaultModel: null,
  safeModeModels: [],
  modelRefreshMs: 60_000,
  timeouts: { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 },
  auth: {
    jwksUrl: null,
    issuer: null,
    audience: null,
    algorithms: [],
    defaultPlan: null,
    defaultOrganization: null,
    roleClaim: null,
    organizationClaim: null,
  },
  secretKey: '',
  corsOrigins: [],
  trustedProxies: [],
  publicUrl: null,
  maxBodyBytes: 100_000,
  logLevel: 'info',
  metrics: null,
  explorer: false,
  demoFile: null,
  ledger: { renewMs: 1_000, deadAfterMs: 6_000, lookEveryMs: 60_000 },
  reconcileAtHour: null,
  usageRetentionMonths: null,
  streams: { graceMs: 1_000, keptMs: 60_000, keptBytes: 1_000_000 },
  redisUrl: null,
  shutdownMs: 1_000,
  ...changes,
});

/** Both doors, over the network, with only the services replaced. */
export async function startServer(changes: Partial<Config> = {}, deps: Partial<ServerDeps> = {}): Promise<TestServer> {
  const viewers = new Map([
    ['good', viewerOf('ann')],
    ['operator', viewerOf('root', { role: 'OPERATOR' })],
  ]);
  const ended = new Set<Viewer>();
  const streams: TestStream[] = [];
  const logger = memoryLogger();
  const services = {
    auth: {
      authenticate: async (authorization: string | null | undefined) => {
        const viewer = viewers.get(/^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '');
        if (!viewer) throw new AppError('UNAUTHENTICATED');
        return viewer;
      },
      ended: async (asked: Viewer[]) => new Set(asked.filter((viewer) => ended.has(viewer))),
    },
    chat: {
      stream: async (_viewer: Viewer, input: { text?: string } | null, context: RequestContext) => {
        if (input?.text === 'refuse')
          throw new AppError('BAD_USER_INPUT', { argument: 'input.text', public: 'input.text: refused' });
        const stream: TestStream = { iterator: null as never, sink: null as never, left: false, context };
        stream.iterator = new AbortableIterator<unknown>(
          { start: (sink) => (stream.sink = sink), onLeave: () => (stream.left = true) },
          (last, next) => merge(last as Delta, next as Delta),
        );
        streams.push(stream);
        return stream.iterator;
      },
    },
  } as unknown as Services;
  const server = await createServer({
    config: testConfig(changes),
    schema: tinySchema(),
    services,
    logger,
    metrics: new Metrics({ version: '0' }),
    readiness: async () => ({ ready: true, database: { state: 'UP' } }),
    ...deps,
  });
  const { url, port } = await server.listen();
  const accessEnds = new SessionRevocation({ auth: services.auth, running: new RunningCalls(), logger });
  accessEnds.start(server);
  return {
    server,
    url,
    port,
    logger,
    viewers,
    ended,
    streams,
    accessEnds,
    close: () => {
      accessEnds.stop();
      return server.close();
    },
  };
}

interface Delta {
  kind: string;
  text: string;
  fromSeq: number;
  seq: number;
}
const merge = (last: Delta, next: Delta): Delta | null =>
  last.kind === 'TextDelta' && next.kind === 'TextDelta'
    ? { ...last, text: last.text + next.text, seq: next.seq }
    : null;

export const readOperation = (name: string): string => readFileSync(`schema/operations/${name}.graphql`, 'utf8');
