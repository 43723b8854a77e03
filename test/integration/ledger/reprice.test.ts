import type { Db } from '../../../src/database/pool';
import { SettlementWriter } from '../../../src/services/recovery/settlement-writer';
import { FULL, PRICED, collect, input, newKey, replyOf, useKeyedScene } from '../../support/keyed-scene';
import { gate } from '../../support/provider-script';
import { waitFor } from '../../support/wait';
import { appendPrice } from '../../support/prices';

// The price book as an operator, or another replica, changes it: this process does not know.
async function setPrice(db: Db, model: string): Promise<string> {
  const [last] = await db.query<{ number: string }>('SELECT max(number) AS number FROM model_prices');
  const number = Number(last!.number) + 1;
  await appendPrice(db, { number, model, rates: { input: '7', output: '9' } });
  return String(number);
}

describe('a price that changes while a call runs', () => {
  const scene = useKeyedScene();
  const costs = async (id: string): Promise<unknown> =>
    (
      await scene.fixture.database.db.query(
        'SELECT cost, cost_input, cost_output, price_number, book_number, uncached_prompt_tokens AS prompt, output_tokens + reasoning_tokens AS output FROM llm_usage WHERE id = $1',
        [id],
      )
    )[0];

  it.each(['a whole answer', 'a stream'])(
    'prices the call of %s, what its caller is told, and what a repetition is told',
    async (kind) => {
      const { db } = scene.fixture.database;
      const before = scene.asked();
      const head = gate();
      scene.fixture.provider.script(PRICED, { pieces: FULL, holdHead: head });
      const question = input('q', newKey(), { model: PRICED });
      const answer =
        kind === 'a stream'
          ? scene
              .stream(question)
              .then(collect)
              .then((events) => {
                const end = events.at(-1)!;
                if (end.kind !== 'StreamCompleted') throw new Error(end.kind);
                return end.reply;
              })
          : replyOf(scene.chat(question));
      await waitFor(() => scene.asked() > before, { what: 'the upstream to be asked' });
      const number = await setPrice(db, PRICED);
      head.open();
      const reply = await answer;
      const row = (await costs(reply.call.id)) as Record<'prompt' | 'output', number>;
      const total = String(row.prompt * 7 + row.output * 9);
      expect(row).toMatchObject({ price_number: number, book_number: number, cost: total });
      expect(reply.cost).toMatchObject({ total });
      expect(reply.call.cost).toMatchObject({ total });
      expect(await replyOf(scene.chat(question, scene.second))).toMatchObject({
        replayed: true,
        cost: { total },
        call: { cost: { total } },
      });
    },
  );

  it('is settled at the new price by a writer that had priced it before, and others of its group are settled with it', async () => {
    const { db } = scene.fixture.database;
    const write = jest.spyOn(SettlementWriter.prototype, 'write');
    const head = gate();
    const before = scene.asked();
    for (const model of [PRICED, 'test-small'])
      scene.fixture.provider.script(model, { pieces: ['ok'], holdHead: head });
    const both = Promise.all(
      [PRICED, 'test-small'].map((model) => replyOf(scene.chat(input('q', newKey(), { model })))),
    );
    await waitFor(() => scene.asked() === before + 2, { what: 'both calls to be asked' });
    await setPrice(db, PRICED);
    head.open();
    const [priced, other] = await both;
    expect(write).toHaveBeenCalledTimes(2);
    write.mockRestore();
    expect(await costs(priced!.call.id)).toMatchObject({ cost: priced!.cost!.total });
    expect(await costs(other!.call.id)).toMatchObject({ cost: null });
  });
});
