/** What stands in the place of a secret. No quotes or backslashes: it may replace a part of JSON text. */
export const REDACTED = '[redacted]';

/** Removes secrets from texts. One object per process: what start-up registers is removed everywhere. */
export interface Redactor {
  /** The text without secrets. Linear in its length. */
  text(text: string): string;
  /**
   * An exact secret to remove from now on, in its plain, JSON-escaped and URL-encoded forms. Shorter than 6 characters:
   * ignored, it would blank half of the log.
   */
  register(secret: string | null | undefined): void;
}

// A value that is named like a secret, as JSON (also JSON inside a JSON string, where the quotes are escaped) or as a
// header line.
const NAMED =
  'proxy-authorization|authorization|x-api-key|api[-_]?key|x-goog-api-key|x-litellm-api-key|master[-_]?key|virtual[-_]?key|secret[-_]?key|client[-_]secret|password|secret|set-cookie|cookie';

/** Forms of secrets that are recognised without knowing them. Each pattern is linear: no nested repetition. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // user:password@ of a URL; the user alone may be a key too.
  [/\b([a-z][a-z0-9+.-]{1,20}:\/\/)[^\s/?#"'\\@]{1,512}@/gi, `$1${REDACTED}@`],
  [
    new RegExp(`((\\\\*)"(?:${NAMED})\\2"\\s{0,4}:\\s{0,4}\\2")(?:(?!\\2")[^"]){1,8192}(?=\\2")`, 'gi'),
    `$1${REDACTED}`,
  ],
  [
    new RegExp(`\\b((?:${NAMED})\\s{0,4}[:=]\\s{0,4}(?:(?:bearer|basic|token)\\s{1,4})?)[^\\s"'\\\\,;&]{4,4096}`, 'gi'),
    `$1${REDACTED}`,
  ],
  [/\b(bearer\s{1,4})[^\s"'\\,;]{4,8192}/gi, `$1${REDACTED}`],
  [/\beyJ[A-Za-z0-9_-]{5,8192}\.[A-Za-z0-9_-]{5,8192}(?:\.[A-Za-z0-9_-]{0,8192})?/g, REDACTED],
  [/\bweir_[A-Za-z0-9_-]{12,512}/g, REDACTED],
  [/\bsk-[A-Za-z0-9_-]{6,512}/g, REDACTED],
  // Google, xAI, Groq, Hugging Face, AWS: providers whose keys the environment may hold.
  [
    /\b(?:AIza[A-Za-z0-9_-]{30,64}|xai-[A-Za-z0-9]{20,256}|gsk_[A-Za-z0-9]{20,256}|hf_[A-Za-z0-9]{20,256}|AKIA[A-Z0-9]{16})/g,
    REDACTED,
  ],
];

export function createRedactor(secrets: readonly (string | null | undefined)[] = []): Redactor {
  // Longest first, so that a secret that contains another one is replaced whole.
  let known: string[] = [];
  const register = (secret: string | null | undefined): void => {
    if (!secret || secret.length < 6) return;
    const forms = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
    known = [...new Set([...known, ...forms])].sort((a, b) => b.length - a.length);
  };
  for (const secret of secrets) register(secret);

  return {
    register,
    text(text) {
      let result = text;
      for (const secret of known) if (result.includes(secret)) result = result.replaceAll(secret, REDACTED);
      for (const [pattern, replacement] of PATTERNS) result = result.replace(pattern, replacement);
      return result;
    },
  };
}

/** The passwords inside connection URLs: what a driver may print apart from the URL. */
export function passwordsOf(...urls: readonly (string | null | undefined)[]): string[] {
  return urls.flatMap((url) => {
    if (!url || !URL.canParse(url)) return [];
    const { password } = new URL(url);
    return password ? [...new Set([password, decodeURIComponent(password)])] : [];
  });
}
