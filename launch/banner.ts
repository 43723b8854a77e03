import { DEMO_ROLES, type Demo } from './seed';

export interface BannerOptions {
  version: string;
  url: string;
  websocket: string;
  /** Null: nothing was seeded. */
  demo: Demo | null;
  demoFile: string;
  databaseUrlFile: string;
  upstream: string;
  warning: string | null;
  explorer: boolean;
  /** Since the command was given. */
  seconds: number;
  /** The folder is not the usual one: commands have to name it. */
  home: string | null;
  color: boolean;
}

/** The last lines of a start: what to open, and three commands to copy. */
export function bannerLines(options: BannerOptions): string[] {
  const strong = (text: string): string => (options.color ? `\x1b[1m${text}\x1b[0m` : text);
  const loud = (text: string): string => (options.color ? `\x1b[1;33m${text}\x1b[0m` : text);
  const lines = [
    '',
    strong(`Weir ${options.version} is ready after ${options.seconds.toFixed(1)} s.`) + ' Ctrl-C stops it.',
    `  Upstream   ${options.upstream}`,
  ];
  if (options.warning) lines.push(`  ${loud(`! ${options.warning}`)}`);
  lines.push('', `  GraphQL    ${options.url}`, `  WebSocket  ${options.websocket}`);
  if (options.explorer) lines.push(`  Explorer   ${options.url} (in a browser)`);
  if (options.explorer && options.demo)
    lines.push(`  Example    ${new URL('/example', options.url).href} (a chat that survives outages, in a browser)`);
  if (options.demo) return [...lines, ...demoLines(options, options.demo, strong)];
  return [
    ...lines,
    '',
    '  No demonstration users here. The first operator, if there is none yet:',
    `    DATABASE_URL=$(cat ${options.databaseUrlFile}) npm run admin -- create-operator --name "Your name"`,
    '',
  ];
}

function demoLines(options: BannerOptions, { tokens }: Demo, strong: (text: string) => string): string[] {
  const inHome = options.home ? `WEIR_HOME=${options.home} ` : '';
  return [
    '',
    strong(`  A token per role (also in ${options.demoFile})`),
    ...DEMO_ROLES.map((role) => `    ${role.padEnd(9)} ${tokens[role]}`),
    '',
    strong('  To copy: the models of a plan, one chat, one stream'),
    `    ${curl(options.url, tokens.free, '{ models { items { id provider price { inputPerMillion outputPerMillion } } } }')}`,
    '',
    `    ${curl(options.url, tokens.pro, CHAT)}`,
    '',
    `    ${inHome}node scripts/stream.mjs "What does a weir do in a river?"`,
    '',
  ];
}

const CHAT =
  'mutation { chat(input: { messages: [{ role: USER, content: "Say hello to the river." }] }) ' +
  '{ __typename ... on ChatReply { answer { content } usage { totalTokens } cost { total currency } } ... on Refusal { code message } } }';

/** Single quotes around everything: nothing in it is looked at by the shell. */
const curl = (url: string, token: string, query: string): string =>
  `curl -s ${url} -H 'content-type: application/json' -H 'authorization: Bearer ${token}' -d '${JSON.stringify({ query })}'`;
