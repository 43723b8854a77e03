import { mkdirSync, mkdtempSync, readFileSync, existsSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { transformSync } from '@swc/core';

const ROOT = path.join(__dirname, '..', '..', '..');

/**
 * A TypeScript program and what it imports, as JavaScript in a temporary folder: for processes that tests start, some 10 ms a file. Gives the
 * program's path. The folder goes away with this process.
 */
export function compileProgram(entry: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'weir-program-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  const target = (file: string): string => path.join(folder, path.relative(ROOT, file)).replace(/\.ts$/, '.js');
  const seen = new Set<string>();
  const compile = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const { code } = transformSync(readFileSync(file, 'utf8'), {
      filename: file, configFile: false, swcrc: false, module: { type: 'commonjs' },
      jsc: { target: 'es2022', parser: { syntax: 'typescript', decorators: true }, transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false } },
    });
    mkdirSync(path.dirname(target(file)), { recursive: true });
    writeFileSync(target(file), code);
    for (const [, specifier] of code.matchAll(/require\("(\.[^"]+)"\)/g)) {
      const imported = path.join(path.dirname(file), `${specifier!}.ts`);
      if (existsSync(imported)) compile(imported);
    }
  };
  compile(entry);
  return target(entry);
}
