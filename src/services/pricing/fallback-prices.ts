import { Decimal } from '../../lib/decimal';
import { canonicalRates } from './canonical-rates';
import type { RateTier, Rates } from './pricing.types';

/**
 * The day of the figures below. They are list prices as LiteLLM 1.108.7 ships them; what a contract says, an
 * administrator enters.
 */
export const FALLBACK_PRICES_AS_OF = '2026-11-21';

export interface KnownModel {
  provider: string;
  mode: 'CHAT' | 'EMBEDDING';
  contextWindow: number;
  maxOutputTokens: number | null;
  /** Dollars per token. */
  rates: Rates;
}

/**
 * What is known of a model by the names that an upstream gives it, best name first: `gpt-4o-mini`,
 * `openai/gpt-4o-mini`,
 * `openrouter/openai/gpt-4o-mini`, `gpt-4o-mini-2024-07-18`, `models/gemini-2.5-pro`. null for everything else: a price
 * is not guessed. A name with another provider's prefix does not match (`ollama/gpt-oss-20b` costs its owner nothing).
 */
export function knownModel(names: readonly string[]): KnownModel | null {
  for (const name of names) {
    const key = tableKey(name);
    const found = TABLE.get(key) ?? TABLE.get(key.replace(/-(?:\d{4}-\d{2}-\d{2}|\d{8})$/, ''));
    if (found) return found;
  }
  return null;
}

// How the providers are called elsewhere.
const SYNONYMS: Record<string, string> = {
  azure: 'openai',
  google: 'gemini',
  vertex_ai: 'gemini',
  'x-ai': 'xai',
  mistralai: 'mistral',
};

function tableKey(name: string): string {
  const parts = name.trim().toLowerCase().split('/');
  if (parts.length > 1 && (parts[0] === 'models' || parts[0] === 'openrouter')) parts.shift();
  if (parts.length > 1) parts[0] = SYNONYMS[parts[0]!] ?? parts[0]!;
  return parts.join('/');
}

type Row = [
  provider: string,
  model: string,
  mode: KnownModel['mode'],
  contextWindow: number,
  maxOutputTokens: number | null,
  perMillion: Rates,
];

// Dollars per million tokens, as the providers print them.
const ROWS: Row[] = [
  [
    'openai',
    'gpt-6.1-sol',
    'CHAT',
    922_000,
    128_000,
    {
      input: '2',
      output: '10',
      cacheRead: '0.1',
      cacheWrite: '2.5',
      tiers: [{ abovePromptTokens: 272_000, input: '4', output: '15', cacheRead: '0.2', cacheWrite: '5' }],
    },
  ],
  [
    'openai',
    'gpt-6-astra',
    'CHAT',
    922_000,
    128_000,
    {
      input: '10',
      output: '50',
      cacheRead: '1',
      cacheWrite: '12.5',
      tiers: [{ abovePromptTokens: 272_000, input: '20', output: '75', cacheRead: '2', cacheWrite: '25' }],
    },
  ],
  [
    'openai',
    'gpt-6-luna',
    'CHAT',
    922_000,
    128_000,
    {
      input: '0.1',
      output: '0.5',
      cacheRead: '0.01',
      cacheWrite: '0.125',
      tiers: [{ abovePromptTokens: 272_000, input: '0.2', output: '0.75', cacheRead: '0.02', cacheWrite: '0.25' }],
    },
  ],
  [
    'openai',
    'gpt-5.5',
    'CHAT',
    1_050_000,
    128_000,
    {
      input: '5',
      output: '30',
      cacheRead: '0.5',
      tiers: [{ abovePromptTokens: 272_000, input: '10', output: '45', cacheRead: '1' }],
    },
  ],
  [
    'openai',
    'gpt-5.4',
    'CHAT',
    1_050_000,
    128_000,
    {
      input: '2.5',
      output: '15',
      cacheRead: '0.25',
      tiers: [{ abovePromptTokens: 272_000, input: '5', output: '22.5', cacheRead: '0.5' }],
    },
  ],
  ['openai', 'gpt-5.4-mini', 'CHAT', 272_000, 128_000, { input: '0.75', output: '4.5', cacheRead: '0.075' }],
  ['openai', 'gpt-5.2', 'CHAT', 272_000, 128_000, { input: '1.75', output: '14', cacheRead: '0.175' }],
  ['openai', 'gpt-5.1', 'CHAT', 272_000, 128_000, { input: '1.25', output: '10', cacheRead: '0.125' }],
  ['openai', 'gpt-5', 'CHAT', 272_000, 128_000, { input: '1.25', output: '10', cacheRead: '0.125' }],
  ['openai', 'gpt-5-mini', 'CHAT', 272_000, 128_000, { input: '0.25', output: '2', cacheRead: '0.025' }],
  ['openai', 'gpt-5-nano', 'CHAT', 272_000, 128_000, { input: '0.05', output: '0.4', cacheRead: '0.005' }],
  ['openai', 'gpt-4.1', 'CHAT', 1_047_576, 32_768, { input: '2', output: '8', cacheRead: '0.5' }],
  ['openai', 'gpt-4.1-mini', 'CHAT', 1_047_576, 32_768, { input: '0.4', output: '1.6', cacheRead: '0.1' }],
  ['openai', 'gpt-4.1-nano', 'CHAT', 1_047_576, 32_768, { input: '0.1', output: '0.4', cacheRead: '0.025' }],
  ['openai', 'gpt-4o-2024-05-13', 'CHAT', 128_000, 4_096, { input: '5', output: '15' }],
  ['openai', 'gpt-4o', 'CHAT', 128_000, 16_384, { input: '2.5', output: '10', cacheRead: '1.25' }],
  ['openai', 'gpt-4o-mini', 'CHAT', 128_000, 16_384, { input: '0.15', output: '0.6', cacheRead: '0.075' }],
  ['openai', 'o3', 'CHAT', 200_000, 100_000, { input: '2', output: '8', cacheRead: '0.5' }],
  ['openai', 'o4-mini', 'CHAT', 200_000, 100_000, { input: '1.1', output: '4.4', cacheRead: '0.275' }],
  ['openai', 'text-embedding-3-small', 'EMBEDDING', 8_191, null, { input: '0.02', output: '0' }],
  ['openai', 'text-embedding-3-large', 'EMBEDDING', 8_191, null, { input: '0.13', output: '0' }],
  [
    'anthropic',
    'claude-opus-5-5',
    'CHAT',
    1_000_000,
    128_000,
    { input: '4', output: '20', cacheRead: '0.2', cacheWrite: '5', cacheWriteOneHour: '8' },
  ],
  [
    'anthropic',
    'claude-opus-4-8',
    'CHAT',
    1_000_000,
    128_000,
    { input: '5', output: '25', cacheRead: '0.5', cacheWrite: '6.25', cacheWriteOneHour: '10' },
  ],
  [
    'anthropic',
    'claude-opus-4-5',
    'CHAT',
    200_000,
    64_000,
    { input: '5', output: '25', cacheRead: '0.5', cacheWrite: '6.25', cacheWriteOneHour: '10' },
  ],
  [
    'anthropic',
    'claude-sonnet-5-5',
    'CHAT',
    1_000_000,
    128_000,
    { input: '2', output: '10', cacheRead: '0.1', cacheWrite: '2.5', cacheWriteOneHour: '4' },
  ],
  [
    'anthropic',
    'claude-sonnet-4-6',
    'CHAT',
    1_000_000,
    128_000,
    { input: '3', output: '15', cacheRead: '0.3', cacheWrite: '3.75', cacheWriteOneHour: '6' },
  ],
  [
    'anthropic',
    'claude-sonnet-4-5',
    'CHAT',
    200_000,
    64_000,
    { input: '3', output: '15', cacheRead: '0.3', cacheWrite: '3.75', cacheWriteOneHour: '6' },
  ],
  [
    'anthropic',
    'claude-haiku-5-5',
    'CHAT',
    1_000_000,
    128_000,
    {
      input: '0.1',
      output: '0.5',
      cacheRead: '0.01',
      cacheWrite: '0.125',
      cacheWriteOneHour: '0.2',
      tiers: [
        {
          abovePromptTokens: 100_000,
          input: '0.5',
          output: '2.5',
          cacheRead: '0.05',
          cacheWrite: '0.625',
          cacheWriteOneHour: '1',
        },
      ],
    },
  ],
  [
    'anthropic',
    'claude-haiku-4-5',
    'CHAT',
    200_000,
    64_000,
    { input: '1', output: '5', cacheRead: '0.1', cacheWrite: '1.25', cacheWriteOneHour: '2' },
  ],
  [
    'gemini',
    'gemini-3.1-pro-preview',
    'CHAT',
    1_048_576,
    65_536,
    {
      input: '2',
      output: '12',
      cacheRead: '0.2',
      tiers: [{ abovePromptTokens: 200_000, input: '4', output: '18', cacheRead: '0.4' }],
    },
  ],
  [
    'gemini',
    'gemini-3.8-flash',
    'CHAT',
    1_048_576,
    65_536,
    { input: '0.75', output: '3.75', cacheRead: '0.075', reasoning: '3.75' },
  ],
  [
    'gemini',
    'gemini-2.5-pro',
    'CHAT',
    1_048_576,
    65_536,
    {
      input: '1.25',
      output: '10',
      cacheRead: '0.125',
      tiers: [{ abovePromptTokens: 200_000, input: '2.5', output: '15', cacheRead: '0.25' }],
    },
  ],
  [
    'gemini',
    'gemini-2.5-flash',
    'CHAT',
    1_048_576,
    65_536,
    { input: '0.3', output: '2.5', cacheRead: '0.03', reasoning: '2.5' },
  ],
  [
    'gemini',
    'gemini-2.5-flash-lite',
    'CHAT',
    1_048_576,
    65_536,
    { input: '0.1', output: '0.4', cacheRead: '0.01', reasoning: '0.4' },
  ],
  ['gemini', 'gemini-embedding-001', 'EMBEDDING', 2_048, null, { input: '0.15', output: '0' }],
  ['mistral', 'mistral-large-latest', 'CHAT', 262_144, 262_144, { input: '0.5', output: '1.5', cacheRead: '0.05' }],
  ['mistral', 'mistral-medium-latest', 'CHAT', 262_144, 262_144, { input: '1.5', output: '7.5', cacheRead: '0.15' }],
  ['mistral', 'mistral-small-latest', 'CHAT', 262_144, 262_144, { input: '0.15', output: '0.6', cacheRead: '0.015' }],
  ['mistral', 'codestral-latest', 'CHAT', 128_000, 128_000, { input: '0.3', output: '0.9', cacheRead: '0.03' }],
  [
    'deepseek',
    'deepseek-chat',
    'CHAT',
    131_072,
    8_192,
    { input: '0.28', output: '0.42', cacheRead: '0.028', cacheWrite: '0' },
  ],
  ['deepseek', 'deepseek-reasoner', 'CHAT', 131_072, 65_536, { input: '0.28', output: '0.42', cacheRead: '0.028' }],
  ['groq', 'openai/gpt-oss-120b', 'CHAT', 131_072, 65_536, { input: '0.15', output: '0.6', cacheRead: '0.075' }],
  ['groq', 'openai/gpt-oss-20b', 'CHAT', 131_072, 65_536, { input: '0.075', output: '0.3', cacheRead: '0.0375' }],
  [
    'xai',
    'grok-4.7',
    'CHAT',
    500_000,
    500_000,
    {
      input: '2',
      output: '6',
      cacheRead: '0.5',
      tiers: [{ abovePromptTokens: 199_999, input: '4', output: '12', cacheRead: '1' }],
    },
  ],
  [
    'xai',
    'grok-4.3',
    'CHAT',
    1_000_000,
    1_000_000,
    {
      input: '1.25',
      output: '2.5',
      cacheRead: '0.2',
      tiers: [{ abovePromptTokens: 199_999, input: '2.5', output: '5', cacheRead: '0.4' }],
    },
  ],
];

const MILLIONTH = Decimal.parse('1e-6');
const perToken = (value: string | undefined): string | undefined =>
  value === undefined ? undefined : Decimal.parse(value).times(MILLIONTH).toString();

function toRates(perMillion: Rates): Rates {
  const scaled = (rates: Rates | RateTier): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(rates)
        .filter(([key]) => key !== 'tiers')
        .map(([key, value]) => [key, typeof value === 'string' ? perToken(value) : value]),
    );
  return canonicalRates({ ...scaled(perMillion), tiers: perMillion.tiers?.map(scaled) } as unknown as Rates);
}

// A model is found with its provider before it and, unless its own name has a slash, without.
const TABLE: ReadonlyMap<string, KnownModel> = new Map(
  ROWS.flatMap(([provider, model, mode, contextWindow, maxOutputTokens, perMillion]) => {
    const known: KnownModel = { provider, mode, contextWindow, maxOutputTokens, rates: toRates(perMillion) };
    return [`${provider}/${model}`, ...(model.includes('/') ? [] : [model])].map((key): [string, KnownModel] => [
      key,
      known,
    ]);
  }),
);
