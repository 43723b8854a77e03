import { readFileSync } from 'node:fs';
import path from 'node:path';

export interface Block {
  language: string;
  text: string;
  /** Its name, where a test runs it: the first line says `run: name`. */
  run: string | null;
}

/** The fenced blocks of a document. */
export function blocksOf(document: string): Block[] {
  const text = readFileSync(path.join(__dirname, '..', '..', document), 'utf8');
  return [...text.matchAll(/^```(\w*)\n([^]*?)\n```$/gm)].map(([, language = '', block = '']) => ({
    language,
    text: block,
    run: /^(?:\/\/|#) run: (\S+)\n/.exec(block)?.[1] ?? null,
  }));
}
