import type { CatalogModel } from '../../../domain/model';

type Named = Pick<CatalogModel, 'id' | 'provider'>;

/** The name without what a proxy or a router puts before it. */
export const bareName = (id: string): string => id.slice(id.lastIndexOf('/') + 1).toLowerCase();
export const isOpenAi = ({ provider }: Named): boolean => provider === 'openai' || provider === 'azure';

/** gpt-4o-mini: 2,833 and 5,667 for each of eight tiles. The dearest picture that any provider documents. */
const DEAREST = 48_169;

/**
 * The most prompt tokens that one picture can be, whatever its size and detail: providers scale pictures down to a
 * bound of their own. From their documentation of 2026; a model that is not here counts as the dearest of them all.
 *
 * OpenAI, "Images and vision", tiles: fitted into 2048 × 2048, then the shorter side to 768, so at most 2 × 4 tiles of
 * 512: base and tile are
 * 85 and 170 (gpt-4o, gpt-4.1), 75 and 150 (o1, o3), 70 and 140 (gpt-5). Patches: at most 1,536, times up to 2.46
 * (gpt-4.1-nano, gpt-5-nano).
 * Later models may take 10,000 patches, and are not named here.
 * Anthropic, "Vision": 28 × 28 pixels a token, scaled to 2,576 pixels and 4,784 tokens at most, earlier models to
 * 1,600.
 * Gemini, "Media resolution": from Gemini 3 on 2,240 at the highest. Earlier ones cut tiles of 258 tokens, without a
 * bound that is documented.
 */
export function imageTokensAtMost(model: Named): number {
  const name = bareName(model.id);
  if (isOpenAi(model)) {
    if (/^(chat)?gpt-4o(?!-mini)(-|$)/.test(name)) return 1_445;
    if (/^(gpt-4\.1|gpt-5|o1|o3|o4-mini)(-|$)/.test(name)) return 3_779;
  }
  if (/^(anthropic|bedrock|vertex_ai)/.test(model.provider ?? '') && /claude/.test(name)) return 4_784;
  if (/^(gemini|vertex_ai)/.test(model.provider ?? '') && /^gemini-[3-9]/.test(name)) return 2_240;
  return DEAREST;
}
