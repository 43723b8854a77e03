/** Small texts that are joined at a time: an array of tokens takes ten times the memory of their text. */
const JOINED = 64;

/**
 * A text that grows by small pieces, in little more memory than its characters take. Each character is copied once for
 * every 64-fold of pieces.
 */
export class TextBuffer {
  /** The older, the higher: a part of level n is 64 of level n - 1. */
  private levels: string[][] = [[]];
  private characters = 0;

  get length(): number {
    return this.characters;
  }

  add(text: string): void {
    this.characters += text.length;
    for (let level = 0, part = text; ; level += 1) {
      const parts = (this.levels[level] ??= []);
      parts.push(part);
      if (parts.length < JOINED) return;
      part = parts.join('');
      this.levels[level] = [];
    }
  }

  toString(): string {
    const parts = this.levels.length === 1 ? this.levels[0]! : [...this.levels].reverse().flat();
    return parts.length === 1 ? parts[0]! : parts.join('');
  }

  /** All of it, which is then gone from here. */
  take(): string {
    const text = this.toString();
    this.levels = [[]];
    this.characters = 0;
    return text;
  }
}
