import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { transformSync } from '@swc/core';

const ROOT = path.join(__dirname, '..', '..', '..');

/**
 * A TypeScript program for processes that tests start. Compiled when the first user asks for it, into a temporary
 * folder that goes away with the last one.
 */
export class Program {
  private users = 0;
  private compiled: { file: string; folder: string } | null = null;

  constructor(
    private readonly entry: string,
    /** Changes the text of a source file: for tests that plant a mistake. */
    private readonly edit: (file: string, text: string) => string = (_, text) => text,
  ) {}

  /** To be released. */
  use(): string {
    this.users += 1;
    return (this.compiled ??= compileProgram(this.entry, this.edit)).file;
  }

  release(): void {
    this.users -= 1;
    if (this.users > 0 || !this.compiled) return;
    rmSync(this.compiled.folder, { recursive: true, force: true });
    this.compiled = null;
  }
}

/** The program and what it imports as JavaScript: a tenth of a second for the whole server. */
function compileProgram(entry: string, edit: (file: string, text: string) => string): { file: string; folder: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-program-'));
  writeFileSync(path.join(folder, 'package.json'), '{}');
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  const target = (file: string): string => path.join(folder, path.relative(ROOT, file)).replace(/\.ts$/, '.js');
  const seen = new Set<string>();
  const compile = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const { code } = transformSync(edit(path.relative(ROOT, file), readFileSync(file, 'utf8')), {
      filename: file,
      configFile: false,
      swcrc: false,
      module: { type: 'commonjs' },
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
      },
    });
    mkdirSync(path.dirname(target(file)), { recursive: true });
    writeFileSync(target(file), code);
    for (const [, specifier] of code.matchAll(/require\("(\.[^"]+)"\)/g)) {
      const imported = path.join(path.dirname(file), `${specifier!}.ts`);
      if (existsSync(imported)) compile(imported);
    }
  };
  compile(entry);
  // What the program reads at its start: functions, views and tables.
  cpSync(path.join(ROOT, 'src'), path.join(folder, 'src'), {
    recursive: true,
    filter: (from) => statSync(from).isDirectory() || from.endsWith('.sql'),
  });
  return { file: target(entry), folder };
}
