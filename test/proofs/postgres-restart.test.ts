import { restartRounds } from '../support/ledger/restarts';

// The most work of one test in the suite; for slow machines.
jest.setTimeout(900_000);

test('Postgres restarted under load, in order and at once: nothing lost, nothing doubled, nothing held for ever', async () => {
  const { replies, ...found } = await restartRounds({ restarts: ['FAST', 'IMMEDIATE'], streams: 8, chats: 4, seed: 1 });
  expect({ lost: found.lost, doubled: found.doubled, left: found.left, wrong: found.wrong }).toEqual({
    lost: 0,
    doubled: 0,
    left: 0,
    wrong: 0,
  });
  expect(replies).toBeGreaterThan(50);
});
