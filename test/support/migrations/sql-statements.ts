export interface Statement {
  /** As it was written. */
  raw: string;
  /** Comments gone, quoted text and function bodies empty, white space single. Quotes of names are gone. */
  text: string;
  /** From 1. */
  line: number;
}

/** Comments, names in quotes, texts, bodies between dollars, the end of a statement. */
const TOKENS = /--[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"]|"")*"|'(?:[^']|'')*'|\$(\w*)\$[\s\S]*?\$\1\$|;/g;

/** The statements of a text, without knowing what they mean. */
export function statementsOf(sql: string): Statement[] {
  const statements: Statement[] = [];
  let from = 0;
  let bare = '';
  let copied = 0;
  const end = (at: number): void => {
    bare += sql.slice(copied, at);
    const text = bare.replaceAll(/\s+/g, ' ').trim();
    // Where its first word is: comments before it belong to the statement and are not its beginning.
    const leading = /^(?:\s|--[^\n]*|\/\*[\s\S]*?\*\/)*/.exec(sql.slice(from, at))![0].length;
    if (text)
      statements.push({
        raw: sql.slice(from + leading, at),
        text,
        line: sql.slice(0, from + leading).split('\n').length,
      });
    from = copied = at + 1;
    bare = '';
  };
  for (const match of sql.matchAll(TOKENS)) {
    const [token] = match;
    if (token === ';') {
      end(match.index);
      continue;
    }
    bare += sql.slice(copied, match.index);
    bare += token.startsWith('"') ? token.slice(1, -1) : token.startsWith('-') || token.startsWith('/') ? ' ' : "''";
    copied = match.index + token.length;
  }
  end(sql.length);
  return statements;
}

/** The parts of a list: commas within parentheses do not count. */
export function splitAtCommas(text: string): string[] {
  const parts: string[] = [''];
  let depth = 0;
  for (const character of text) {
    depth += character === '(' ? 1 : character === ')' ? -1 : 0;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}
