import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';

const SRC = path.join(__dirname, '..', 'src');

interface Import { target: string; typeOnly: boolean; /** Values that are imported by name. */ names: string[] }
interface Source { file: string; text: string; imports: Import[] }

const sources: Source[] = readdirSync(SRC, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => {
    const text = readFileSync(path.join(SRC, file), 'utf8');
    return { file, text, imports: importsOf(file, text) };
  });

/** All imports of a file; a path of ours relative to src/ and without extension, a package by its name. */
function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  // A whole statement: `import … from '…'`, `export … from '…'`, `import '…'`, and calls of import() and require().
  const forms = [/^\s*(import|export)\s+(type\s+)?([^'";]*?)\s*from\s*['"]([^'"]+)['"]/gm, /^\s*(import)\s+()()['"]([^'"]+)['"]/gm, /\b(import|require)()()\(\s*['"]([^'"]+)['"]/g];
  for (const form of forms) {
    for (const [, , type, names, specifier] of text.matchAll(form)) {
      const listed = names!.replace(/[{}]/g, '').split(',').map((name) => name.trim()).filter(Boolean);
      const values = type ? [] : listed.filter((name) => !name.startsWith('type ')).map((name) => name.split(/\s+as\s+/)[0]!);
      found.push({ target: resolve(file, specifier!), typeOnly: Boolean(type) || (listed.length > 0 && values.length === 0), names: values });
    }
  }
  return found;
}

function resolve(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier)).replace(/\.js$/, '');
  const parts = specifier.replace(/^node:/, '').split('/');
  return `npm:${specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]}`;
}

/** From the top: a file may import from its own layer and from those after it. */
const LAYERS = ['entry', 'app', 'server', 'resolvers', 'services', 'entities', 'lib'] as const;
/** What is in no layer because every layer may know it: the error table, and configuration as a type. */
const SHARED = new Set(['errors', 'config']);

function layerOf(file: string): (typeof LAYERS)[number] {
  const [top] = file.replace(/\.ts$/, '').split('/');
  if (top === 'app') return 'app';
  const layer = LAYERS.find((name) => name === top);
  // main, admin, migrate and what starts the product on a machine.
  return layer ?? 'entry';
}

const ours = (target: string): boolean => !target.startsWith('npm:');
const withoutExtension = (file: string): string => file.replace(/\.ts$/, '');

/** `src/file → target` for every import that the rule refuses. */
const offences = (refuses: (source: Source, imported: Import) => boolean): string[] =>
  sources.flatMap((source) => source.imports.filter((imported) => refuses(source, imported)).map(({ target }) => `${source.file} → ${target}`));

describe('the arrows of the architecture', () => {
  it('finds the imports that it judges', () => {
    const example = `import fs from 'node:fs';\nimport type { A } from '../lib/a';\nimport { type B, type C } from './b';\nimport {\n  type D,\n  e,\n} from './d';\nimport 'reflect-metadata';\nexport { f } from './f';\nconst g = await import('@scope/name/sub');`;
    expect(importsOf('services/x.ts', example).map(({ target, typeOnly }) => `${target}${typeOnly ? ' (type)' : ''}`).sort()).toEqual(
      ['lib/a (type)', 'npm:@scope/name', 'npm:fs', 'npm:reflect-metadata', 'services/b (type)', 'services/d', 'services/f'],
    );
    expect(sources.length).toBeGreaterThan(20);
  });

  it('imports flow main → app → server → resolvers → services → entities → lib, and never back', () => {
    const refused = offences(({ file }, { target, typeOnly }) => {
      if (!ours(target) || SHARED.has(target)) return false;
      const from = layerOf(file);
      const to = layerOf(target);
      if (SHARED.has(withoutExtension(file))) return to !== 'lib';
      // Resolvers see the request's context, which the server makes.
      if (from === 'resolvers' && target === 'server/context') return !typeOnly;
      return LAYERS.indexOf(to) < LAYERS.indexOf(from);
    });
    expect(refused).toEqual([]);
  });

  it('lib and the error table stand on nothing of ours', () => {
    expect(offences(({ file }, { target }) => file.startsWith('lib/') && ours(target) && !target.startsWith('lib/'))).toEqual([]);
    expect(offences(({ file }, { target }) => file === 'errors.ts' && ours(target) && !target.startsWith('lib/'))).toEqual([]);
  });

  it('configuration is handed down by whoever starts the product: below, it is a type at most', () => {
    expect(offences(({ file }, { target, typeOnly }) => target === 'config' && !typeOnly && !['entry', 'app'].includes(layerOf(file)))).toEqual([]);
  });

  it('service folders know each other by types and constructor arguments only', () => {
    const folder = (file: string): string | null => /^services\/([^/]+)\//.exec(file)?.[1] ?? null;
    const refused = offences(({ file }, { target, typeOnly, names }) => {
      const from = folder(file);
      const to = folder(`${target}.ts`);
      if (typeOnly || from === null || to === null || from === to) return false;
      // Functions and error classes hold nothing; any other class of another folder would be built here, and is to be handed in instead.
      return target.endsWith('.store') || names.some((name) => /^[A-Z][a-z]/.test(name) && !name.endsWith('Error'));
    });
    expect(refused).toEqual([]);
  });

  it('there are no barrels', () => {
    expect(sources.filter(({ file }) => /(^|\/)index\.ts$/.test(file)).map(({ file }) => file)).toEqual([]);
    expect(offences(({ text }, { target }) => ours(target) && new RegExp(`^export \\* from`, 'm').test(text))).toEqual([]);
  });

  it('no file has grown past 400 lines', () => {
    expect(sources.filter(({ text }) => text.split('\n').length > 400).map(({ file }) => file)).toEqual([]);
  });

  it('no type-only cycle hides a real one: modules load without meeting themselves', () => {
    const graph = new Map(sources.map(({ file, imports }) => [withoutExtension(file), imports.filter(({ target, typeOnly }) => ours(target) && !typeOnly).map(({ target }) => target)]));
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (node: string, way: string[]): void => {
      if (way.includes(node)) return void cycles.push([...way.slice(way.indexOf(node)), node].join(' → '));
      if (done.has(node)) return;
      for (const next of graph.get(node) ?? []) visit(next, [...way, node]);
      done.add(node);
    };
    for (const node of graph.keys()) visit(node, []);
    expect(cycles).toEqual([]);
  });
});

describe('each library has its place', () => {
  const PLACES: [libraries: string[], allowed: (file: string) => boolean, places: string][] = [
    [['graphql', 'type-graphql', 'graphql-scalars', 'graphql-jit', 'graphql-query-complexity', '@apollo/server', 'dataloader'], (file) => /^(server|resolvers)\//.test(file), 'server, resolvers'],
    [['fastify', 'ws', 'graphql-ws', '@as-integrations/fastify', '@fastify/cors'], (file) => file.startsWith('server/'), 'server'],
    [['openai'], (file) => file.startsWith('services/litellm/'), 'services/litellm'],
    [['typeorm'], (file) => file.startsWith('entities/') || file.endsWith('.store.ts') || file === 'app.ts', 'entities, *.store.ts, app.ts'],
    [['@redis/client'], (file) => file.startsWith('services/streams/redis-'), 'services/streams/redis-*'],
    [['pg'], (file) => file.startsWith('entities/') || file.endsWith('.store.ts'), 'entities, *.store.ts'],
    [['pino'], (file) => file === 'lib/logger.ts', 'lib/logger.ts'],
    [['jose'], (file) => file.startsWith('services/viewer/'), 'services/viewer'],
  ];

  it.each(PLACES)('%j only where they belong', (libraries, allowed) => {
    expect(offences(({ file }, { target }) => libraries.some((name) => target === `npm:${name}`) && !allowed(file))).toEqual([]);
  });

  it('environment variables are read in config.ts alone', () => {
    const readers = sources.filter(({ file, text }) => file !== 'config.ts' && !file.startsWith('launch/') && /process\.env\b/.test(withoutComments(text)));
    expect(readers.map(({ file }) => file)).toEqual([]);
  });

  it('the process is ended by entries alone', () => {
    const enders = sources.filter(({ file, text }) => layerOf(file) !== 'entry' && /process\.(exit|kill)\(/.test(withoutComments(text)));
    expect(enders.map(({ file }) => file)).toEqual([]);
  });

  it('SQL is written in stores and migrations alone', () => {
    const statement = /[`'"]\s*(SELECT\s+[a-z_*(]|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM|WITH\s+\w+\s+AS)/;
    const writers = sources.filter(({ file, text }) => !file.endsWith('.store.ts') && !file.startsWith('entities/') && statement.test(withoutComments(text)));
    expect(writers.map(({ file }) => file)).toEqual([]);
  });

  it('every package that is imported is declared', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(path.join(SRC, '..', 'package.json'), 'utf8')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
    // What starts the product on a developer's machine may use development dependencies; the server may not.
    const declared = (file: string, name: string): boolean => name in dependencies || builtinModules.includes(name) || (file.startsWith('launch/') && name in devDependencies);
    expect(offences(({ file }, { target, typeOnly }) => !ours(target) && !typeOnly && !declared(file, target.slice('npm:'.length)))).toEqual([]);
  });
});

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
