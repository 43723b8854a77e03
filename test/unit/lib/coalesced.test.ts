import { Coalesced } from '../../../src/lib/coalesced';
import { gate } from '../../support/provider-script';

describe('Coalesced', () => {
  it('runs once at a time, and once more for all who asked meanwhile', async () => {
    const gates = [gate(), gate()];
    let runs = 0;
    const looks = new Coalesced(
      async () => void (await gates[(runs += 1) - 1]?.opened),
      () => undefined,
    );
    const all = [looks.run(), looks.run(), looks.run()];
    expect(runs).toBe(1);
    gates[0]!.open();
    gates[1]!.open();
    await Promise.all(all);
    expect(runs).toBe(2);
    await looks.run();
    expect(runs).toBe(3);
  });

  it('goes on while there is more, and behind what fails', async () => {
    const failures: unknown[] = [];
    const left = [true, 'broken', true, false];
    const looks = new Coalesced(
      async () => {
        const next = left.shift();
        if (next === 'broken') throw new Error('broken');
        return next as boolean;
      },
      (error) => failures.push(error),
    );
    await looks.run();
    expect(left).toEqual([true, false]);
    await looks.run();
    expect([left, failures]).toEqual([[], [new Error('broken')]]);
  });

  it('begins no more once it is stopped, and waits for what runs', async () => {
    const first = gate();
    let runs = 0;
    const looks = new Coalesced(
      async () => {
        runs += 1;
        await first.opened;
        return true;
      },
      () => undefined,
    );
    void looks.run();
    const stopped = looks.stop();
    first.open();
    await stopped;
    await looks.run();
    expect(runs).toBe(1);
  });
});
