import { createFixture, ask, type Fixture } from '../../support/stream-fixture';
import { waitFor } from '../../support/wait';

describe('the metrics', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({
      config: { metrics: { host: '127.0.0.1', port: 0, token: 'only-for-prometheus' } },
    });
    fixture.provider.always('test-chat', { pieces: ['Hello.'] });
  });
  afterAll(() => fixture.close());

  const url = (): string =>
    (fixture.app.log.find(({ message }) => message === 'metrics')!.object as { url: string }).url;
  const read = (init: RequestInit = { headers: { authorization: 'Bearer only-for-prometheus' } }): Promise<Response> =>
    fetch(url(), init);
  /** The sum over the series of a metric whose labels are these. */
  const sumOf = (text: string, name: string, labels: Record<string, string> = {}): number =>
    text
      .split('\n')
      .filter(
        (line) =>
          (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) &&
          Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)),
      )
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);

  it('tell what was called, refused, waited for and booked', async () => {
    const { app, member, provider } = fixture;
    await app.chat(member.token, ask('Hi.'));
    await app.chat(member.token, ask('Hi.', { model: 'no-such-model' }));
    const stream = app.connect(member.token).chatStream(ask('Hi.'));
    await stream.ended;
    provider.script('test-chat', { status: 500, body: { error: { message: 'broken' } } });
    await app.chat(member.token, ask('Hi.'));
    const text = await waitFor(async () => {
      const body = await (await read()).text();
      return sumOf(body, 'weir_calls_total') === 3 ? body : null;
    });

    expect(
      sumOf(text, 'weir_calls_total', {
        model: 'test-chat',
        status: 'COMPLETED',
        upstream: 'DIRECT',
        scenario: 'DEFAULT',
      }),
    ).toBe(2);
    expect(sumOf(text, 'weir_calls_total', { status: 'FAILED' })).toBe(1);
    expect(sumOf(text, 'weir_call_refusals_total')).toBe(1);
    expect(sumOf(text, 'weir_upstream_errors_total')).toBe(1);
    expect(sumOf(text, 'weir_call_overhead_seconds_count', { phase: 'admission' })).toBe(3);
    expect(sumOf(text, 'weir_call_overhead_seconds_count', { phase: 'settlement' })).toBe(3);
    expect(sumOf(text, 'weir_group_size_sum', { kind: 'settlement' })).toBe(3);
    expect(sumOf(text, 'gen_ai_client_inference_duration_seconds_count', { gen_ai_request_model: 'test-chat' })).toBe(
      3,
    );
    expect(sumOf(text, 'gen_ai_client_inference_time_to_first_chunk_seconds_count')).toBe(1);
    expect(sumOf(text, 'weir_http_requests_total', { door: 'graphql', status: '200' })).toBe(3);
    expect(sumOf(text, 'weir_calls_in_flight')).toBe(0);
    expect(sumOf(text, 'weir_dependency_up', { component: 'database' })).toBe(1);
    expect(sumOf(text, 'weir_db_pool_connections', { pool: 'calls', state: 'waiting' })).toBe(0);

    // What was booked is what the ledger has.
    const [booked] = await fixture.database.db.query<{ input: string; output: string; cost: string }>(
      'SELECT sum(prompt_tokens) AS input, sum(completion_tokens) AS output, coalesce(sum(cost), 0) AS cost FROM llm_usage WHERE organization_id = $1',
      [fixture.organizationId],
    );
    expect(sumOf(text, 'gen_ai_client_inference_usage_input_tokens_total')).toBe(Number(booked!.input));
    expect(sumOf(text, 'gen_ai_client_inference_usage_output_tokens_total')).toBe(Number(booked!.output));
    expect(sumOf(text, 'weir_cost_dollars_total')).toBeCloseTo(Number(booked!.cost), 9);

    for (const secret of [member.token, member.id, fixture.organizationId, 'only-for-prometheus', 'Hi.'])
      expect(text).not.toContain(secret);
  });

  it('are for those who have the token, on a port of their own', async () => {
    expect((await read({})).status).toBe(401);
    expect((await read({ headers: { authorization: 'Bearer another' } })).status).toBe(401);
    expect((await read({ method: 'POST', headers: { authorization: 'Bearer only-for-prometheus' } })).status).toBe(405);
    expect((await fetch(url().replace('/metrics', '/graphql'))).status).toBe(404);
    expect((await fetch(fixture.app.url.replace('/graphql', '/metrics'))).status).toBe(404);
    expect((await read()).headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  });
});
