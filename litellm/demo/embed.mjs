import { createHash } from 'node:crypto';
import { tokensOf } from './tokens.mjs';

/** A vector of length 1 from the words of a text: texts that share words are near each other, and that is all it knows. */
export function embed(text, dimensions) {
  const vector = new Array(dimensions).fill(0);
  for (const token of tokensOf(text.toLowerCase())) {
    const bytes = createHash('sha256').update(token.trim()).digest();
    for (let i = 0; i < 4; i++) vector[bytes.readUInt32LE(i * 8) % dimensions] += bytes[i * 8 + 4] % 2 ? 1 : -1;
  }
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/** As the OpenAI SDK asks for by default: 32-bit floats, little-endian, in base64. */
export const inBase64 = (vector) => Buffer.from(Float32Array.from(vector).buffer).toString('base64');
