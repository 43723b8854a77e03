// Parts of model ids that are written otherwise than with a capital.
const WORDS: Record<string, string> = {
  gpt: 'GPT',
  oss: 'OSS',
  ai: 'AI',
  llm: 'LLM',
  deepseek: 'DeepSeek',
  openai: 'OpenAI',
  tts: 'TTS',
  glm: 'GLM',
  mini: 'mini',
  nano: 'nano',
  turbo: 'Turbo',
};

/**
 * A name for people from a model id: `claude-sonnet-4-5` → `Claude Sonnet 4.5`, `openai/gpt-4o-mini` → `GPT-4o mini`.
 */
export function modelLabel(id: string): string {
  const name = id.slice(id.lastIndexOf('/') + 1) || id;
  const words: string[] = [];
  for (const part of name.split(/[-_\s:]+/).filter(Boolean)) {
    const before = words.at(-1);
    // `4-5` is a version; `20250929` after it is a date.
    if (before !== undefined && /^\d{1,2}$/.test(before) && /^\d{1,2}$/.test(part))
      words[words.length - 1] = `${before}.${part}`;
    else if (before === 'GPT' && /^\d/.test(part)) words[words.length - 1] = `GPT-${part}`;
    else
      words.push(WORDS[part.toLowerCase()] ?? (/^[a-z]\d/.test(part) ? part : part[0]!.toUpperCase() + part.slice(1)));
  }
  return words.join(' ') || id;
}
