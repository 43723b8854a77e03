import { setClock } from '../../support/database';
import { createPlan, createUser } from '../../support/factories';
import { FULL, KEYED, PRICED, collect, input, newKey, replyOf, useKeyedScene } from '../../support/keyed-scene';
import { faults, gate } from '../../support/provider-script';

describe('an idempotency key', () => {
  const scene = useKeyedScene();
  const { chat, stream, asked, rowsOf, keyRows } = scene;

  it('brings back the same answer from either replica, marked, with one upstream call and one usage row', async () => {
    const before = asked();
    scene.fixture.provider.script(PRICED, { pieces: FULL });
    const question = input('q', newKey(), { model: PRICED });
    const first = await replyOf(chat(question));
    expect(first.replayed).toBe(false);
    expect(first.cost).not.toBeNull();
    for (const app of [scene.fixture.app, scene.second])
      expect(await chat({ ...question, traceId: 'another' }, app)).toEqual({ ...first, replayed: true });
    expect(asked() - before).toBe(1);
    expect(await rowsOf()).toHaveLength(1);
  });

  it.each([
    ['that answers at once', false],
    ['that takes its time', true],
  ])(
    'of a hundred requests at once on two replicas is one call to a model %s: one usage row, a hundred equal answers, one of them new',
    async (_name, slow) => {
      const before = asked();
      const head = gate();
      scene.fixture.provider.script(PRICED, { pieces: FULL, ...(slow ? { holdHead: head } : {}) });
      const question = { model: PRICED, messages: [{ role: 'USER', content: 'q' }], idempotencyKey: newKey() };
      const all = Array.from({ length: 100 }, (_, i) =>
        (i % 2 ? scene.second : scene.fixture.app).graphql(scene.member.token, KEYED, { input: question }),
      );
      if (slow) {
        await scene.fixture.provider.completion(before);
        // Longer than a follower's first look.
        setTimeout(() => head.open(), 300);
      }
      const replies = await Promise.all(all);
      expect(replies.flatMap(({ errors }) => errors ?? [])).toEqual([]);
      const answers = replies.map(({ data }) => data.chat);
      expect(answers.filter(({ replayed }) => replayed === false)).toHaveLength(1);
      const withoutMark = ({ replayed: _replayed, ...answer }: any): any => answer;
      const one = withoutMark(answers[0]);
      expect(one).toMatchObject({ __typename: 'ChatReply', answer: { content: 'It is 42', reasoning: 'Hm. ' } });
      for (const answer of answers) expect(withoutMark(answer)).toEqual(one);
      expect(asked() - before).toBe(1);
      expect((await rowsOf()).map(({ id }) => id)).toEqual([one.call.id]);
    },
  );

  it('with other input is a conflict that says when it was first used, and spends nothing', async () => {
    await setClock(scene.fixture.database.db, '2026-11-21T10:00:00Z');
    const key = newKey();
    await chat(input('q', key));
    const before = asked();
    const reply = await scene.fixture.app.graphql(scene.member.token, KEYED, {
      input: { model: 'test-chat', messages: [{ role: 'USER', content: 'other' }], idempotencyKey: key },
    });
    expect(reply.data.chat).toMatchObject({
      __typename: 'IdempotencyConflict',
      code: 'IDEMPOTENCY_CONFLICT',
      retryable: false,
      retryAfterMs: null,
      firstUsedAt: '2026-11-21T10:00:00.000Z',
    });
    const events = await collect(await stream(input('other', key)));
    expect(events).toEqual([
      expect.objectContaining({
        kind: 'StreamRefused',
        fromSeq: 1,
        seq: 1,
        refusal: expect.objectContaining({ kind: 'IdempotencyConflict' }),
      }),
    ]);
    expect(asked()).toBe(before);
  });

  it('of another user is another key', async () => {
    const question = input('q', newKey());
    const mine = await replyOf(chat(question));
    const colleague = await createUser(scene.fixture.database.db, {
      organizationId: scene.fixture.organizationId,
      planId: scene.fixture.planId,
    });
    const theirs = await replyOf(chat(question, scene.second, colleague));
    expect(theirs.replayed).toBe(false);
    expect(theirs.call.id).not.toBe(mine.call.id);
    expect(await rowsOf(colleague)).toHaveLength(1);
  });

  it('is free again after a refusal for which nothing was spent', async () => {
    const question = input('q', newKey());
    scene.fixture.provider.script('test-chat', faults.unavailable());
    expect(await chat(question)).toMatchObject({ code: expect.any(String), retryable: true });
    expect(await keyRows()).toEqual([]);
    expect(await replyOf(chat(question, scene.second))).toMatchObject({
      replayed: false,
      answer: { content: 'You said: q' },
    });
    expect((await rowsOf()).map(({ status, usage_source }) => [status, usage_source])).toEqual([
      ['FAILED', 'NONE'],
      ['COMPLETED', 'PROVIDER'],
    ]);
  });

  it('is not held by a budget: what was refused is admitted in the next period', async () => {
    const { db } = scene.fixture.database;
    await setClock(db, '2026-11-21T10:00:00Z');
    await db.query(
      `INSERT INTO budgets (id, organization_id, scope, subject_id, period, limit_amount) VALUES ('bud_' || $1, $2, 'USER', $1, 'DAY', 0.01)`,
      [scene.member.id, scene.fixture.organizationId],
    );
    await db.query(
      `INSERT INTO budget_periods (organization_id, budget_id, starts_on, starts_at, ends_at, spent) VALUES ($2, 'bud_' || $1, '2026-11-21', '2026-11-21T00:00:00Z', '2026-11-22T00:00:00Z', 0.01)`,
      [scene.member.id, scene.fixture.organizationId],
    );
    const question = input('q', newKey(), { model: PRICED, maxTokens: 10 });
    for (const app of [scene.fixture.app, scene.second])
      expect(await chat(question, app)).toMatchObject({
        kind: 'BudgetExceeded',
        resetsAt: new Date('2026-11-22T00:00:00Z'),
      });
    expect(await collect(await stream(question))).toEqual([
      expect.objectContaining({ kind: 'StreamRefused', refusal: expect.objectContaining({ kind: 'BudgetExceeded' }) }),
    ]);
    expect(await keyRows()).toEqual([]);
    await setClock(db, '2026-11-22T00:00:00Z');
    expect(await replyOf(chat(question, scene.second))).toMatchObject({ replayed: false });
    expect(await rowsOf()).toHaveLength(1);
  });

  it('of a call that fails without having cost anything: those who waited try themselves, one after the other, and not for ever', async () => {
    const before = asked();
    const head = gate();
    scene.fixture.provider.script('test-chat', { ...faults.unavailable(), holdHead: head }, { pieces: ['works'] });
    const question = input('q', newKey());
    const first = chat(question);
    await scene.fixture.provider.completion(before);
    const waiting = Array.from({ length: 20 }, (_, i) => chat(question, i % 2 ? scene.second : scene.fixture.app));
    const follower = await stream(question);
    expect((await follower.next()).value).toMatchObject({ kind: 'StreamStarted' });
    head.open();
    expect(await first).toMatchObject({ code: expect.any(String), retryable: true });
    const replies = await Promise.all(waiting.map(replyOf));
    expect(replies.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(new Set(replies.map(({ answer }) => answer.content))).toEqual(new Set(['works']));
    expect(asked() - before).toBe(2);
    // A stream has told whose it is: it ends with that one.
    expect(await collect(follower)).toEqual([
      expect.objectContaining({
        kind: 'StreamFailed',
        refusal: expect.objectContaining({ retryable: true }),
        partial: null,
      }),
    ]);

    scene.fixture.provider.always('test-small', faults.unavailable());
    const refused = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        chat(input('q', 'always', { model: 'test-small' }), i % 2 ? scene.second : scene.fixture.app),
      ),
    );
    for (const one of refused)
      expect(one.status === 'fulfilled' ? one.value : (one.reason as unknown)).toMatchObject({
        code: expect.stringMatching(/MODEL_UNAVAILABLE|UPSTREAM_FAILED|SERVICE_UNAVAILABLE/),
      });
    expect(asked() - before).toBeLessThan(2 + 20);
    expect(await keyRows()).toHaveLength(1);
  });

  it('is answered also when the plan does not allow the model any more', async () => {
    const question = { model: 'test-chat', messages: [{ role: 'USER', content: 'q' }], idempotencyKey: newKey() };
    const ask = async (asking: object): Promise<any> =>
      (await scene.fixture.app.graphql(scene.member.token, KEYED, { input: asking })).data.chat;
    const first = await ask(question);
    const poor = await createPlan(scene.fixture.database.db, { models: ['test-small'] });
    const { errors } = await scene.fixture.app.graphql(
      scene.fixture.admin.token,
      'mutation ($userId: ID!, $planId: ID!) { setUserPlan(userId: $userId, planId: $planId) { id } }',
      { userId: scene.member.id, planId: poor },
    );
    expect(errors).toBeNull();
    expect(await ask({ ...question, idempotencyKey: newKey() })).toMatchObject({ __typename: 'ModelNotAllowed' });
    expect(await ask(question)).toEqual({ ...first, replayed: true });
  });

  it('of a conversation does not say it twice, and goes with it', async () => {
    const { services } = scene.fixture.app;
    const conversation = await services.conversations.create(scene.member.viewer, { title: 't' });
    const question = input('q', newKey(), { conversationId: conversation.id });
    const first = await replyOf(chat(question));
    const again = await replyOf(chat(question, scene.second));
    expect(again).toEqual({ ...first, replayed: true });
    expect(again.conversation!.createdAt).toBeInstanceOf(Date);
    expect(
      (await services.conversations.messages(scene.member.viewer, conversation.id, { first: 10, after: null })).edges,
    ).toHaveLength(2);
    const events = await collect(await stream(question));
    expect(events[0]).toMatchObject({ kind: 'StreamStarted', conversation: { id: conversation.id } });
    await services.conversations.remove(scene.member.viewer, conversation.id);
    expect(await keyRows()).toEqual([]);
    await expect(chat(question)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
