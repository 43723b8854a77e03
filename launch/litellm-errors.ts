export type LitellmTrouble = 'NO_PYTHON' | 'INSTALL_FAILED' | 'PORT_IN_USE' | 'DATABASE' | 'START_FAILED';

/**
 * LiteLLM cannot be had here. The first line of the message has the remedy in it; below is `detail`, what the programs
 * said, without secrets.
 */
export class LitellmUnavailable extends Error {
  constructor(
    readonly trouble: LitellmTrouble,
    message: string,
    readonly remedy: string,
    readonly detail: string = '',
  ) {
    super([`${message} ${remedy}`, detail].filter(Boolean).join('\n'));
    this.name = 'LitellmUnavailable';
  }
}

/** The end of a program's output: secrets taken out, whatever shape they come in. */
export function tail(output: string, secrets: readonly string[], lines = 15): string {
  const known = secrets.filter((secret) => secret.length >= 4).sort((a, b) => b.length - a.length);
  return known
    .reduce((text, secret) => text.replaceAll(secret, '[secret]'), output)
    .replace(/\bsk-[\w-]{6,}/g, '[secret]')
    .replace(/(\w+:\/\/[^\s:@/]*:)[^\s@/]+@/g, '$1[secret]@')
    .trimEnd()
    .split('\n')
    .slice(-lines)
    .join('\n');
}
