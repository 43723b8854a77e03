import { newId } from '../../../src/lib/ids';
import { readBudgetEdit } from '../../../src/services/budgets/budget.input';
import type { BudgetEdit } from '../../../src/domain/budget';

const edit = (fields: Partial<BudgetEdit> = {}): BudgetEdit => ({
  scope: 'USER',
  subjectId: newId('user'),
  period: 'DAY',
  limit: '10',
  timeZone: 'UTC',
  alertAtPercent: [80, 90],
  ...fields,
});
const twelve = '9'.repeat(12);

describe('a budget as it is asked for', () => {
  it.each<[string, Partial<BudgetEdit>, string, string]>([
    ['a negative limit', { limit: '-0.01' }, 'limit', 'negative'],
    ['a limit that is no number', { limit: 'much' }, 'limit', 'decimal'],
    ['a limit with 13 digits before the point', { limit: `1${twelve}` }, 'limit', '12 digits'],
    ['a limit with 13 digits after the point', { limit: `0.${twelve}1` }, 'limit', '12 digits'],
    ['a negative soft limit', { softLimit: '-1' }, 'softLimit', 'negative'],
    ['a soft limit above the limit', { limit: '9.99', softLimit: '10' }, 'softLimit', 'above the limit'],
    ['a zone that does not exist', { timeZone: 'Mars/Olympus' }, 'timeZone', 'IANA'],
    ['an offset, which Postgres would read backwards', { timeZone: '+02:00' }, 'timeZone', 'IANA'],
    ['a short name that means different zones to different programs', { timeZone: 'IST' }, 'timeZone', 'IANA'],
    ['a zone with a quote', { timeZone: "Europe/Ber'lin" }, 'timeZone', 'IANA'],
    ['a zone that is a path', { timeZone: '../../etc/passwd' }, 'timeZone', 'IANA'],
    ['no zone', { timeZone: '' }, 'timeZone', 'IANA'],
    ['a threshold of nothing', { alertAtPercent: [0] }, 'alertAtPercent[0]', '1 to 100'],
    ['a threshold beyond the limit', { alertAtPercent: [50, 101] }, 'alertAtPercent[1]', '1 to 100'],
    ['a threshold twice', { alertAtPercent: [50, 80, 50] }, 'alertAtPercent[2]', 'twice'],
    ['eleven thresholds', { alertAtPercent: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }, 'alertAtPercent', 'ten|10'],
    ['a subject of another kind', { subjectId: newId('project') }, 'subjectId', 'scope USER'],
  ])('is refused with %s, by its argument', (_what, fields, argument, text) => {
    expect(() => readBudgetEdit(edit(fields))).toThrow(
      expect.objectContaining({ code: 'BAD_USER_INPUT', argument, public: expect.stringMatching(text) as string }),
    );
  });

  it.each<[string, Partial<BudgetEdit>]>([
    ['nothing may be spent', { limit: '0' }],
    ['the largest and finest limit', { limit: `${twelve}.${twelve}` }],
    ['a soft limit that is the limit', { limit: '10', softLimit: '10.000' }],
    ['no alerts', { alertAtPercent: [] }],
    ['ten alerts', { alertAtPercent: [1, 10, 20, 30, 40, 50, 60, 70, 80, 100] }],
    ['a zone of three parts', { timeZone: 'America/Argentina/Buenos_Aires' }],
    ['a fixed offset by its IANA name', { timeZone: 'Etc/GMT+5' }],
  ])('may be: %s', (_what, fields) => {
    expect(readBudgetEdit(edit(fields))).toMatchObject({ period: 'DAY' });
  });

  it('gets its amounts in their one written form', () => {
    expect(readBudgetEdit(edit({ limit: '010.50', softLimit: '1.0' }))).toMatchObject({
      limit: '10.5',
      softLimit: '1',
    });
  });
});
