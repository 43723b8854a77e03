import { fuseLimit } from '../../../src/services/pipeline/stream-meter';
import { newId } from '../../../src/lib/ids';
import { forever, type Script } from '../../support/provider-script';
import { ask, createFixture, type Fixture } from '../../support/stream-fixture';
import { settledRow } from '../../support/usage-rows';
import { eventually } from '../../support/wait';
import { isTerminal, textOf, type StreamEvent } from '../../support/ws-client';

const MAX_TOKENS = 100;
/** Five characters are a token; the smallest step, and one piece more. */
const MOST_CHARACTERS = fuseLimit(MAX_TOKENS) * 5 + 256 + 4_096;
const words = (count: number): string[] => Array<string>(count).fill('word ');

describe('a provider that does not keep to max_tokens', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({ provider: { models: [{ id: 'gpt-4o' }, { id: 'test-chat' }] } });
  });
  afterAll(() => fixture.close());

  async function run(
    script: Script,
    input: Record<string, unknown> = {},
  ): Promise<{ events: StreamEvent[]; last: any; row: any; warning: any }> {
    fixture.provider.script('gpt-4o', script);
    const client = fixture.app.connect(fixture.member.token);
    const stream = client.chatStream(ask('Write on', { model: 'gpt-4o', maxTokens: MAX_TOKENS, ...input }));
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.errors).toEqual([]);
    expect(stream.events.filter(isTerminal)).toHaveLength(1);
    await client.close();
    const { callId } = stream.events[0]!;
    return {
      events: stream.events,
      last: stream.events.at(-1),
      row: await settledRow(fixture.database.db, callId),
      warning: fixture.app.log.find(({ level, object }) => level === 'warn' && (object as any).callId === callId),
    };
  }
  const lastCompletion = () => fixture.provider.requests.filter(({ path }) => path === '/v1/chat/completions').at(-1)!;

  it.each<[string, Script]>([
    ['word by word', { pieces: words(20_000) }],
    ['and never ends', { pieces: words(1_000), hold: { after: 1_000, until: forever } }],
    [
      'in one burst',
      {
        pieces: [
          {
            raw: words(50_000)
              .map((text) => `data: ${JSON.stringify({ choices: [{ delta: { content: text } }] })}\n\n`)
              .join(''),
          },
        ],
      },
    ],
    ['in one event of eight megabytes', { pieces: ['word '.repeat(1_600_000)] }],
    ['thinking', { pieces: words(20_000).map((reasoning) => ({ reasoning })) }],
    ['calling tools', { pieces: words(20_000).map((text) => ({ toolCall: { index: 0, arguments: text } })) }],
  ])(
    '%s is cut a little beyond the limit: what came is kept, counted and paid, and the operator is warned with figures',
    async (_, script) => {
      const { events, last, row, warning } = await run(script);
      expect(last).toMatchObject({
        __typename: 'StreamStopped',
        reason: 'BUDGET',
        reply: { finishReason: 'BUDGET', answer: { complete: false }, usage: { source: 'ESTIMATED' } },
      });
      await eventually(lastCompletion().closed, 'closing the upstream');
      const { answer } = last.reply;
      const produced =
        (answer.content ?? '') +
        (answer.reasoning ?? '') +
        answer.toolCalls.map((call: any) => call.arguments).join('');
      expect(produced.length).toBeLessThanOrEqual(MOST_CHARACTERS);
      expect(produced.length).toBeGreaterThan(fuseLimit(MAX_TOKENS) * 5);
      if (answer.content) expect(textOf(events)).toBe(answer.content);
      expect(row).toMatchObject({ status: 'STOPPED', finish_reason: 'BUDGET', usage_source: 'ESTIMATED' });
      expect(row.completion_tokens).toBeGreaterThan(MAX_TOKENS);
      expect(Number(row.cost)).toBeGreaterThan(0);
      expect(warning).toMatchObject({
        message: 'a stream was cut: the provider has not kept to max_tokens',
        object: { model: 'gpt-4o', maxTokens: MAX_TOKENS, limit: fuseLimit(MAX_TOKENS) },
      });
      expect((warning.object as any).tokens).toBeGreaterThan(fuseLimit(MAX_TOKENS));
    },
  );

  it('and has told its usage by then is settled by its own count', async () => {
    const usage = { prompt_tokens: 9, completion_tokens: 260, total_tokens: 269 };
    const { last, row } = await run({
      pieces: [...words(150), { raw: `data: ${JSON.stringify({ choices: [], usage })}\n\n` }, ...words(2_000)],
    });
    expect(last).toMatchObject({
      __typename: 'StreamStopped',
      reason: 'BUDGET',
      reply: { usage: { source: 'PROVIDER', completionTokens: 260 } },
    });
    expect(row).toMatchObject({
      finish_reason: 'BUDGET',
      usage_source: 'PROVIDER',
      prompt_tokens: 9,
      completion_tokens: 260,
    });
  });

  it('and goes beyond it by what vocabularies differ is left alone', async () => {
    const { last } = await run({ pieces: words(MAX_TOKENS + 20) });
    expect(last).toMatchObject({ __typename: 'StreamCompleted', reply: { finishReason: 'STOP' } });
  });

  it('under a budget: what it produced is spent, the rest of what was held is free again, and no more than the fuse allows is overage', async () => {
    const { db } = fixture.database;
    const { member } = fixture;
    const id = newId('budget');
    await db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ($1, $2, 'USER', $3, 'MONTH', 100)`,
      [id, member.organizationId, member.id],
    );
    const { row } = await run({ pieces: words(20_000) });
    const [period] = await db.query<Record<string, string>>(
      'SELECT spent, held, overage FROM budget_periods WHERE budget_id = $1',
      [id],
    );
    expect(Number(period!.held)).toBe(0);
    expect(period!.spent).toBe(row.cost);
    await db.query('DELETE FROM budget_periods WHERE budget_id = $1', [id]);
    await db.query('DELETE FROM budgets WHERE id = $1', [id]);
  });

  it('with a whole answer is paid what it says: there is nothing to cut', async () => {
    fixture.provider.script('gpt-4o', { pieces: words(1_000) });
    const { data } = await fixture.app.chat(
      fixture.member.token,
      ask('Write on', { model: 'gpt-4o', maxTokens: MAX_TOKENS }),
    );
    expect(data!.chat).toMatchObject({
      __typename: 'ChatReply',
      answer: { complete: true },
      usage: { source: 'PROVIDER', completionTokens: 1_000 },
    });
  });
});

describe('progress', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await createFixture({ provider: { models: [{ id: 'gpt-4o' }, { id: 'mystery' }] } });
  });
  afterAll(() => fixture.close());

  const STREAM = `subscription ($input: ChatInput!) { chatStream(input: $input) { __typename ... on StreamEvent { fromSeq seq } ... on StreamStarted { streamId } ... on TextDelta { text } ... on StreamProgress { completionTokens estimatedCost } ... on StreamCompleted { reply { usage { completionTokens } cost { total } } } } }`;
  async function run(model: string, progress: boolean): Promise<StreamEvent[]> {
    fixture.provider.script(model, { pieces: words(24), pieceMs: 100, usage: null });
    const stream = fixture.app
      .connect(fixture.member.token)
      .subscribe(STREAM, { input: ask('Count', { model, progress }) });
    await eventually(stream.ended, 'the end of the stream');
    expect(stream.errors).toEqual([]);
    let seq = 0;
    for (const event of stream.events) {
      expect(event.fromSeq).toBe(seq + 1);
      seq = event.seq;
    }
    return stream.events;
  }
  const progressOf = (events: StreamEvent[]): StreamEvent[] =>
    events.filter(({ __typename }) => __typename === 'StreamProgress');

  it('is told about once a second, numbered among the pieces, with tokens and a cost that grow towards those of the settlement', async () => {
    const events = await run('gpt-4o', true);
    const told = progressOf(events);
    expect(told.length).toBeGreaterThanOrEqual(1);
    // 2.4 seconds on a machine that keeps up.
    const last = events.at(-1)!;
    let [tokens, cost] = [0, 0];
    for (const event of told) {
      expect(event.completionTokens).toBeGreaterThan(tokens);
      expect(Number(event.estimatedCost)).toBeGreaterThan(cost);
      [tokens, cost] = [event.completionTokens, Number(event.estimatedCost)];
    }
    expect(tokens).toBeLessThanOrEqual(last.reply.usage.completionTokens);
    expect(cost).toBeLessThanOrEqual(Number(last.reply.cost.total));
    // As settlement prices it: by the shipped price of so many dollars for a million.
    const prompt = Number(last.reply.cost.total) - last.reply.usage.completionTokens * 0.00001;
    expect(cost).toBeCloseTo(prompt + tokens * 0.00001, 8);
  });

  it('has no cost where no price is known, and is not told to who did not ask', async () => {
    const [unpriced, silent] = await Promise.all([run('mystery', true), run('gpt-4o', false)]);
    expect(progressOf(unpriced).length).toBeGreaterThanOrEqual(1);
    for (const { estimatedCost } of progressOf(unpriced)) expect(estimatedCost).toBeNull();
    expect(progressOf(silent)).toEqual([]);
  });
});
