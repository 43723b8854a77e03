import { Metrics } from '../../../src/lib/metrics';

const valueOf = (text: string, series: string): number | null => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line ? Number(line.slice(series.length + 1)) : null;
};

describe('metrics', () => {
  it('count label sets that are too many as one, and say how often', async () => {
    const metrics = new Metrics({ version: '1' });
    for (let i = 0; i < 2_500; i += 1) metrics.refusals.add({ code: `CODE_${i}` });
    metrics.refusals.add({ code: 'CODE_7' });
    const { body } = await metrics.text();
    expect(body.split('\n').filter((line) => line.startsWith('weir_call_refusals_total{'))).toHaveLength(2_001);
    expect(valueOf(body, 'weir_call_refusals_total{code="CODE_7"}')).toBe(2);
    expect(valueOf(body, 'weir_call_refusals_total{code="__overflow__"}')).toBe(500);
    expect(valueOf(body, 'weir_metrics_overflow_total{metric="weir_call_refusals_total"}')).toBe(500);
  });

  it('read states when they are asked for, and leave out one that cannot be read', async () => {
    const metrics = new Metrics({ version: '1' });
    let waiting = 3;
    metrics.state('weir_waiting', 'Who waits.', ['where'], () => [[{ where: 'door' }, waiting]]);
    metrics.state('weir_away', 'Not there.', [], async () => {
      throw new Error('the database is away');
    });
    expect(valueOf((await metrics.text()).body, 'weir_waiting{where="door"}')).toBe(3);
    waiting = 4;
    const { body } = await metrics.text();
    expect(valueOf(body, 'weir_waiting{where="door"}')).toBe(4);
    expect(valueOf(body, 'weir_away')).toBeNull();
  });
});
