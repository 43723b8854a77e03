import { findUpstream, StoppedMeanwhile, USUAL_LITELLM, type UpstreamTools } from '../../../launch/upstream';

/** A machine on which nothing answers and nothing can be installed, but for what the test says. */
function machine(parts: Partial<UpstreamTools> = {}): UpstreamTools & { asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    probe: async (url) => (asked.push(`probe ${url}`), 'NO_ANSWER'),
    startOwnLitellm: async () => {
      asked.push('own');
      throw new Error('Python 3.10 or newer is missing. Install it.\nlong story');
    },
    startDemoProvider: async () => (asked.push('demo'), { baseUrl: 'http://127.0.0.1:5/v1' }),
    ...parts,
  };
}
const own = async (): Promise<{ baseUrl: string; masterKey: string; detail: string }> => ({
  baseUrl: 'http://127.0.0.1:9',
  masterKey: 'sk-own',
  detail: 'with demo',
});

test('LLM_BASE_URL goes before everything else, and nothing is started', async () => {
  const tools = machine({ startOwnLitellm: own });
  const found = await findUpstream(
    { LLM_BASE_URL: 'http://models.local/v1/', LLM_API_KEY: 'k', LLM_PROVIDER: 'mine' },
    tools,
  );
  expect(found.config).toEqual({ kind: 'DIRECT', baseUrl: 'http://models.local/v1', apiKey: 'k', provider: 'mine' });
  expect(tools.asked).toEqual([]);
});

test('LLM_BASE_URL that answers like a LiteLLM and accepts LITELLM_MASTER_KEY is used as one', async () => {
  const tools = machine({ probe: async () => 'ACCEPTED' });
  const { config } = await findUpstream({ LLM_BASE_URL: 'http://proxy.local/v1', LITELLM_MASTER_KEY: 'sk-m' }, tools);
  expect(config).toMatchObject({ kind: 'LITELLM', baseUrl: 'http://proxy.local', masterKey: 'sk-m' });
});

test('LLM_BASE_URL that answers like something else is used directly although there is a master key, and that is said', async () => {
  const { config, warning } = await findUpstream(
    { LLM_BASE_URL: 'http://models.local', LITELLM_MASTER_KEY: 'sk-m' },
    machine({ probe: async () => 'NO_LITELLM' }),
  );
  expect(config).toMatchObject({ kind: 'DIRECT', apiKey: null });
  expect(warning).toContain('LITELLM_MASTER_KEY');
});

test('a LiteLLM at LLM_BASE_URL that refuses the master key ends the start with the remedy', async () => {
  await expect(
    findUpstream(
      { LLM_BASE_URL: 'http://proxy.local', LITELLM_MASTER_KEY: 'sk-m' },
      machine({ probe: async () => 'KEY_REFUSED' }),
    ),
  ).rejects.toThrow('does not accept LITELLM_MASTER_KEY');
});

test('a LiteLLM on port 4000 that accepts the key is used instead of an own one', async () => {
  const tools = machine({
    probe: async (url) => (url === USUAL_LITELLM ? 'ACCEPTED' : 'NO_LITELLM'),
    startOwnLitellm: own,
  });
  expect((await findUpstream({ LITELLM_MASTER_KEY: 'sk-m' }, tools)).config).toMatchObject({
    baseUrl: USUAL_LITELLM,
    masterKey: 'sk-m',
  });
});

test.each([
  ['that refuses the key', { LITELLM_MASTER_KEY: 'sk-m' }, 'KEY_REFUSED'],
  ['when no key is given', {}, 'ACCEPTED'],
  ['that is something else', { LITELLM_MASTER_KEY: 'sk-m' }, 'NO_LITELLM'],
] as const)('a program on port 4000 %s is left alone: an own LiteLLM is started', async (_, env, answer) => {
  const { config } = await findUpstream(env, machine({ probe: async () => answer, startOwnLitellm: own }));
  expect(config).toEqual({ kind: 'LITELLM', baseUrl: 'http://127.0.0.1:9', masterKey: 'sk-own', otherwise: null });
});

test('where LiteLLM cannot be had it goes to the demonstration provider, and says why in one line', async () => {
  const { config, warning } = await findUpstream({}, machine());
  expect(config).toEqual({ kind: 'DIRECT', baseUrl: 'http://127.0.0.1:5/v1', apiKey: null, provider: 'demo' });
  expect(warning).toContain('Python 3.10 or newer is missing. Install it.');
  expect(warning).not.toContain('\n');
});

test('a stop in the middle of it starts nothing more', async () => {
  const tools = machine({ startOwnLitellm: () => Promise.reject(new StoppedMeanwhile()) });
  await expect(findUpstream({}, tools)).rejects.toBeInstanceOf(StoppedMeanwhile);
  expect(tools.asked).not.toContain('demo');
});
