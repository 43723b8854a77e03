import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';

const SRC = path.join(__dirname, '..', 'src');

interface Import {
  target: string;
  typeOnly: boolean;
  /** Values that are imported by name. */ names: string[];
}
interface Source {
  file: string;
  text: string;
  imports: Import[];
}

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
  const forms = [
    /^\s*(import|export)\s+(type\s+)?([^'";]*?)\s*from\s*['"]([^'"]+)['"]/gm,
    /^\s*(import)\s+()()['"]([^'"]+)['"]/gm,
    /\b(import|require)()()\(\s*['"]([^'"]+)['"]/g,
  ];
  for (const form of forms) {
    for (const [, , type, names, specifier] of text.matchAll(form)) {
      const listed = names!
        .replace(/[{}]/g, '')
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean);
      const values = type
        ? []
        : listed.filter((name) => !name.startsWith('type ')).map((name) => name.split(/\s+as\s+/)[0]!);
      found.push({
        target: resolve(file, specifier!),
        typeOnly: Boolean(type) || (listed.length > 0 && values.length === 0),
        names: values,
      });
    }
  }
  return found;
}

function resolve(file: string, specifier: string): string {
  if (specifier.startsWith('.'))
    return path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier)).replace(/\.js$/, '');
  const parts = specifier.replace(/^node:/, '').split('/');
  return `npm:${specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]}`;
}

/** From the top: a file may import from its own layer and from those after it, types included. */
const LAYERS = ['entry', 'app', 'server', 'resolvers', 'services', 'database', 'entities', 'domain', 'lib'] as const;
type Layer = (typeof LAYERS)[number];

function layerOf(file: string): Layer {
  const [top] = file.replace(/\.ts$/, '').split('/') as [string];
  if (top === 'app' || top.startsWith('app-')) return 'app';
  // The table of error codes: every layer but lib may know it.
  if (top === 'errors') return 'domain';
  // main, admin, migrate.
  return LAYERS.find((name) => name === top) ?? 'entry';
}

/**
 * The rooms of src/services, from the top: a room may import from those of later groups, and from those behind it in
 * its own group. What stands beside the data path is nothing that the data path may know.
 */
const ROOMS: readonly (readonly string[])[] = [
  ['pipeline'],
  ['exports', 'usage', 'rollups', 'reconciliation', 'recovery', 'analytics'],
  ['idempotency', 'ledger', 'streams'],
  ['catalog', 'keys', 'plans', 'budgets', 'conversations', 'pricing'],
  ['accounts', 'auth'],
  ['upstream'],
];
const DATA_PATH = 0;
const BESIDE = 1;

const roomOf = (file: string): string | null => /^services\/([^/]+)\//.exec(file)?.[1] ?? null;

function mayKnow(from: string, to: string): boolean {
  const place = (room: string): [number, number] => {
    const group = ROOMS.findIndex((rooms) => rooms.includes(room));
    return [group, ROOMS[group]?.indexOf(room) ?? -1];
  };
  const [fromGroup, fromPlace] = place(from);
  const [toGroup, toPlace] = place(to);
  if (fromGroup < 0 || toGroup < 0) return false;
  if (fromGroup === DATA_PATH && toGroup === BESIDE) return false;
  return fromGroup < toGroup || (fromGroup === toGroup && fromPlace < toPlace);
}

const ours = (target: string): boolean => !target.startsWith('npm:');
const withoutExtension = (file: string): string => file.replace(/\.ts$/, '');

/** `src/file → target` for every import that the rule refuses. */
const offences = (refuses: (source: Source, imported: Import) => boolean): string[] =>
  sources.flatMap((source) =>
    source.imports.filter((imported) => refuses(source, imported)).map(({ target }) => `${source.file} → ${target}`),
  );

describe('the arrows of the architecture', () => {
  it('finds the imports that it judges', () => {
    const example = `import fs from 'node:fs';\nimport type { A } from '../lib/a';\nimport { type B, type C } from './b';\nimport {\n  type D,\n  e,\n} from './d';\nimport 'reflect-metadata';\nexport { f } from './f';\nconst g = await import('@scope/name/sub');`;
    expect(
      importsOf('services/x.ts', example)
        .map(({ target, typeOnly }) => `${target}${typeOnly ? ' (type)' : ''}`)
        .sort(),
    ).toEqual([
      'lib/a (type)',
      'npm:@scope/name',
      'npm:fs',
      'npm:reflect-metadata',
      'services/b (type)',
      'services/d',
      'services/f',
    ]);
    expect(sources.length).toBeGreaterThan(20);
  });

  it('imports flow main → app → server → resolvers → services → database → entities → domain → lib, types included, and never back', () => {
    const refused = offences(
      ({ file }, { target }) =>
        ours(target) && target !== 'config' && LAYERS.indexOf(layerOf(target)) < LAYERS.indexOf(layerOf(file)),
    );
    expect(refused).toEqual([]);
  });

  it('rooms of the services know each other in one order, types included', () => {
    const refused = offences(({ file }, { target }) => {
      const from = roomOf(file);
      const to = roomOf(`${target}.ts`);
      return from !== null && to !== null && from !== to && !mayKnow(from, to);
    });
    expect(refused).toEqual([]);
  });

  it('every room of the services has a place in that order and a README, and files stand in rooms', () => {
    const rooms = [
      ...new Set(sources.filter(({ file }) => file.startsWith('services/')).map(({ file }) => roomOf(file) ?? file)),
    ];
    expect(rooms.toSorted()).toEqual(ROOMS.flat().toSorted());
    expect(rooms.filter((room) => !existsSync(path.join(SRC, 'services', room, 'README.md')))).toEqual([]);
  });

  it('configuration is handed down by main and app: nobody else knows the whole of it', () => {
    expect(
      offences(({ file }, { target }) => target === 'config' && !['entry', 'app'].includes(layerOf(file))),
    ).toEqual([]);
  });

  it('the server knows nothing of what starts it on a machine', () => {
    expect(offences((_, { target }) => target.startsWith('..'))).toEqual([]);
  });

  it('rooms of the services hand each other objects: none builds what is another rooms', () => {
    const refused = offences(({ file }, { target, typeOnly, names }) => {
      const from = roomOf(file);
      const to = roomOf(`${target}.ts`);
      if (typeOnly || from === null || to === null || from === to) return false;
      return names.some((name) => /^[A-Z]\w*(Service|Store|Book|Catalog|Client|Admin|Writer|Streams)$/.test(name));
    });
    expect(refused).toEqual([]);
  });

  it('the pipeline knows no kind of call, no protocol and no role of a message', () => {
    const words = /chat|embedding|openai|anthropic|graphql|litellm|assistant|['"](system|tool)['"]|\brole: /i;
    const steps = sources.filter(({ file }) => /^services\/pipeline\/[^/]+$/.test(file));
    const found = steps.flatMap(({ file, text }) =>
      text.split('\n').flatMap((line, index) => (words.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
    );
    expect(steps.length).toBeGreaterThan(10);
    expect(found).toEqual([]);
  });

  it('there are no barrels', () => {
    expect(sources.filter(({ file }) => /(^|\/)index\.ts$/.test(file)).map(({ file }) => file)).toEqual([]);
    expect(offences(({ text }, { target }) => ours(target) && new RegExp(`^export \\* from`, 'm').test(text))).toEqual(
      [],
    );
  });

  it('no file has grown past 400 lines', () => {
    expect(sources.filter(({ text }) => text.split('\n').length > 400).map(({ file }) => file)).toEqual([]);
  });

  it('no file is in a cycle of imports, types included', () => {
    const graph = new Map(
      sources.map(({ file, imports }) => [
        withoutExtension(file),
        imports.filter(({ target }) => ours(target)).map(({ target }) => target),
      ]),
    );
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
    [
      [
        'graphql',
        'type-graphql',
        'graphql-scalars',
        'graphql-jit',
        'graphql-query-complexity',
        '@apollo/server',
        'dataloader',
      ],
      (file) => /^(server\/(graphql\/|websocket\/|sse\/|server\.ts)|resolvers\/)/.test(file),
      'server/graphql, server/websocket, server/sse, server/server.ts, resolvers',
    ],
    [
      ['fastify', 'ws', 'graphql-ws', '@as-integrations/fastify', '@fastify/cors'],
      (file) => file.startsWith('server/'),
      'server',
    ],
    [['openai'], (file) => file.startsWith('services/upstream/'), 'services/upstream'],
    [
      ['typeorm'],
      (file) => /^(entities|database)\//.test(file) || file.endsWith('.store.ts'),
      'entities, database, *.store.ts',
    ],
    [['@redis/client'], (file) => file.startsWith('services/streams/redis-'), 'services/streams/redis-*'],
    [['pg'], (file) => file.startsWith('database/') || file.endsWith('.store.ts'), 'database, *.store.ts'],
    [['pino'], (file) => file === 'lib/logger.ts', 'lib/logger.ts'],
    [['jose'], (file) => file.startsWith('services/auth/'), 'services/auth'],
  ];

  it.each(PLACES)('%j only where they belong', (libraries, allowed) => {
    expect(
      offences(({ file }, { target }) => libraries.some((name) => target === `npm:${name}`) && !allowed(file)),
    ).toEqual([]);
  });

  it('environment variables are read in config.ts alone', () => {
    const readers = sources.filter(
      ({ file, text }) => file !== 'config.ts' && /process\.env\b/.test(withoutComments(text)),
    );
    expect(readers.map(({ file }) => file)).toEqual([]);
  });

  it('the process is ended by entries alone', () => {
    const enders = sources.filter(
      ({ file, text }) => layerOf(file) !== 'entry' && /process\.(exit|kill)\(/.test(withoutComments(text)),
    );
    expect(enders.map(({ file }) => file)).toEqual([]);
  });

  it('SQL is written in stores and migrations alone', () => {
    const statement = /[`'"]\s*(SELECT\s+[a-z_*(]|INSERT INTO|UPDATE\s+\w+\s+SET|DELETE FROM|WITH\s+\w+\s+AS)/;
    const writers = sources.filter(
      ({ file, text }) =>
        !file.endsWith('.store.ts') && !file.startsWith('database/') && statement.test(withoutComments(text)),
    );
    expect(writers.map(({ file }) => file)).toEqual([]);
  });

  it('every package that is imported is declared', () => {
    const { dependencies } = JSON.parse(readFileSync(path.join(SRC, '..', 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const declared = (name: string): boolean => name in dependencies || builtinModules.includes(name);
    expect(
      offences((_, { target, typeOnly }) => !ours(target) && !typeOnly && !declared(target.slice('npm:'.length))),
    ).toEqual([]);
  });
});

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
