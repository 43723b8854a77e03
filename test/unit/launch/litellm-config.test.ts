import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { demoModels, litellmConfig, providersWithKey, writeLitellmConfig } from '../../../launch/litellm-config';
import { LitellmUnavailable, tail } from '../../../launch/litellm-errors';
import { PROVIDERS } from '../../../launch/litellm-providers';
import { toYaml } from '../../../launch/yaml';

const repositoryRoot = path.resolve(__dirname, '../../..');
const demo = demoModels(repositoryRoot, 'http://127.0.0.1:4321');
const SECRET = 'canary-of-a-provider-key';

describe("LiteLLM's configuration", () => {
  it('has the demonstration models, priced, when no provider has a key', () => {
    const { model_list } = litellmConfig({ env: { OPENAI_API_KEY: ' ' }, demo });
    expect(model_list.map(({ model_name }) => model_name)).toEqual([
      'demo-small',
      'demo-large',
      'demo-reasoner',
      'demo-vision',
      'demo-embedding',
    ]);
    expect(model_list[0]).toMatchObject({
      litellm_params: { model: 'openai/demo-small', api_base: 'http://127.0.0.1:4321/v1' },
      model_info: { id: 'demo-small', input_cost_per_token: 1.5e-7 },
    });
    const prices = model_list.map(
      ({ model_info: { input_cost_per_token, output_cost_per_token } }) =>
        `${input_cost_per_token} ${output_cost_per_token}`,
    );
    expect(new Set(prices).size).toBe(prices.length);
  });

  it("names the demonstration's deployments the same wherever the provider listens", () => {
    const elsewhere = demoModels(repositoryRoot, 'http://127.0.0.1:9999');
    expect(elsewhere.map(({ model_info }) => model_info.id)).toEqual(demo.map(({ model_info }) => model_info.id));
  });

  it('has the models of exactly the providers whose key is there, and never a key', () => {
    const env = { ANTHROPIC_API_KEY: SECRET, GROQ_API_KEY: SECRET };
    const config = litellmConfig({ env, demo });
    expect(providersWithKey(env)).toEqual(['ANTHROPIC_API_KEY', 'GROQ_API_KEY']);
    expect(new Set(config.model_list.map(({ litellm_params }) => litellm_params.api_key))).toEqual(
      new Set(['os.environ/ANTHROPIC_API_KEY', 'os.environ/GROQ_API_KEY']),
    );
    expect(toYaml(config as never)).not.toContain(SECRET);
  });

  it('gives every model of every provider a name of its own', () => {
    const names = PROVIDERS.flatMap(({ models }) => models);
    expect(new Set(names).size).toBe(names.length);
  });

  it('is committed for docker compose as it is made with every key', () => {
    const committed = fs.readFileSync(path.join(repositoryRoot, 'litellm/config.yaml'), 'utf8');
    const everyKey = Object.fromEntries(PROVIDERS.map(({ key }) => [key, 'set']));
    expect(committed.replace(/^#.*\n/gm, '')).toBe(
      toYaml(litellmConfig({ env: everyKey, demo, redis: true }) as never),
    );
  });

  it('is written readable by its owner only', () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-config-'));
    const file = path.join(folder, 'deep', 'config.yaml');
    writeLitellmConfig(file, litellmConfig({ env: {}, demo }));
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.readFileSync(file, 'utf8')).toContain('model_name: demo-small');
    fs.rmSync(folder, { recursive: true });
  });
});

describe('toYaml', () => {
  it('writes numbers out, since Python takes 1e-7 for a text', () => {
    expect(toYaml({ a: 1e-7, b: 1.5e-7, c: 0, d: 12 })).toBe('a: 0.0000001\nb: 0.00000015\nc: 0\nd: 12\n');
  });

  it('quotes what would be read as something else', () => {
    expect(toYaml({ a: 'true', b: '12', c: 'x: y', d: 'plain-text/1.0', e: null, f: [] })).toBe(
      'a: "true"\nb: "12"\nc: "x: y"\nd: plain-text/1.0\ne: null\nf: []\n',
    );
  });

  it('nests lists and maps', () => {
    expect(toYaml({ list: [{ a: 'b', c: { d: ['e'] } }, 'f'] })).toBe(
      'list:\n  - a: b\n    c:\n      d:\n        - e\n  - f\n',
    );
  });
});

describe('what LiteLLM says when it fails', () => {
  it('is shown without known secrets, keys and passwords in addresses', () => {
    const text = `key ${SECRET}\nAuthorization sk-abcdef123456\npostgresql://weir:hunter22@host/db`;
    expect(tail(text, [SECRET])).toBe('key [secret]\nAuthorization [secret]\npostgresql://weir:[secret]@host/db');
  });

  it('is its last lines only', () => expect(tail('1\n2\n3\n', [], 2)).toBe('2\n3'));

  it('begins with one line that has the remedy', () => {
    expect(new LitellmUnavailable('NO_PYTHON', 'No Python.', 'Install it.', 'more\nlines').message.split('\n')[0]).toBe(
      'No Python. Install it.',
    );
  });
});
