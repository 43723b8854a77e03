/** A provider whose key may be in the environment, and its models as LiteLLM 1.108.7 knows and prices them. */
export interface Provider {
  /** The environment variable with the key. */
  key: string;
  /** LiteLLM's name of the provider, in front of the model; also what a plan's `provider/*` matches. */
  name: string;
  models: string[];
}

/** As of 2026-11: the providers' current models, small and large, none that is announced to be switched off. */
export const PROVIDERS: readonly Provider[] = [
  {
    key: 'OPENAI_API_KEY',
    name: 'openai',
    models: [
      'gpt-6.1-sol',
      'gpt-6-luna',
      'gpt-5.6',
      'gpt-5.4-mini',
      'text-embedding-3-small',
      'text-embedding-3-large',
    ],
  },
  {
    key: 'ANTHROPIC_API_KEY',
    name: 'anthropic',
    models: ['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-haiku-4-5'],
  },
  {
    key: 'GEMINI_API_KEY',
    name: 'gemini',
    models: ['gemini-4-argon', 'gemini-3.8-flash', 'gemini-3.5-flash-lite', 'gemini-2.5-pro', 'gemini-embedding-2'],
  },
  {
    key: 'MISTRAL_API_KEY',
    name: 'mistral',
    models: [
      'mistral-large-latest',
      'mistral-medium-latest',
      'mistral-small-latest',
      'codestral-latest',
      'mistral-embed',
    ],
  },
  { key: 'GROQ_API_KEY', name: 'groq', models: ['openai/gpt-oss-120b', 'openai/gpt-oss-20b', 'qwen/qwen3.8-27b'] },
  { key: 'DEEPSEEK_API_KEY', name: 'deepseek', models: ['deepseek-v4-pro', 'deepseek-v4-flash'] },
  { key: 'XAI_API_KEY', name: 'xai', models: ['grok-4.7', 'grok-4.5'] },
];
