import { jsonRequest, type RawReply } from './raw-http';

/** What each server is asked for: the same fields everywhere. */
const CHAT_FIELDS =
  'call { id status } answer { role content } finishReason usage { promptTokens completionTokens totalTokens } latencyMs';
export const WEIR_CHAT = `mutation Chat($input: ChatInput!) { chat(input: $input) { __typename ... on ChatReply { ${CHAT_FIELDS} } ... on Refusal { code message } } }`;
const TYPICAL_CHAT = `mutation Chat($input: ChatInput!) { chat(input: $input) { __typename ${CHAT_FIELDS} } }`;
export const VIEWER = 'query { viewer { id role } }';

const MESSAGES = [
  { role: 'SYSTEM', content: 'You answer in one sentence.' },
  { role: 'USER', content: 'Why is grass green? Think of the light that it takes and of the light that it leaves.' },
];
const INPUT = { model: 'bench-chat', maxTokens: 200, messages: MESSAGES };

export const weirChat = (port: number, token: string): Buffer =>
  jsonRequest(port, '/graphql', { query: WEIR_CHAT, variables: { input: INPUT } }, token);
export const typicalChat = (port: number, token: string): Buffer =>
  jsonRequest(port, '/graphql', { query: TYPICAL_CHAT, variables: { input: INPUT } }, token);
export const viewerQuery = (port: number, token: string): Buffer =>
  jsonRequest(port, '/graphql', { query: VIEWER }, token);
export const floorJson = (port: number): Buffer => jsonRequest(port, '/json', { query: VIEWER }, null);
/** The same call as the server makes it, without the server. */
export const upstreamChat = (port: number): Buffer =>
  jsonRequest(
    port,
    '/v1/chat/completions',
    {
      model: 'bench-chat',
      max_tokens: 200,
      messages: MESSAGES.map(({ role, content }) => ({ role: role.toLowerCase(), content })),
    },
    null,
  );

export const isChatReply = ({ status, body }: RawReply): boolean =>
  status === 200 && body.includes('"status":"COMPLETED"') && body.includes('chlorophyll');
export const isViewer = ({ status, body }: RawReply): boolean => status === 200 && body.includes('"role":"MEMBER"');
export const isCompletion = ({ status, body }: RawReply): boolean => status === 200 && body.includes('chlorophyll');
