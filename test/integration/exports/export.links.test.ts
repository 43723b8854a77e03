import { randomBytes } from 'node:crypto';
import { ExportLinks } from '../../../src/services/exports/export-link';
import { setClock } from '../../support/database';
import type { TestUser } from '../../support/factories';
import { waitFor } from '../../support/wait';
import { ExportScene, get, type Fetched } from './export-scene';

let scene: ExportScene;
beforeAll(async () => {
  scene = await ExportScene.open();
});
beforeEach(() => scene.renew());
afterAll(() => scene.close());

const NOW = '2026-11-21T12:00:00.000Z';
const clockAfter = (ms: number): Promise<void> =>
  setClock(scene.database.db, new Date(Date.parse(NOW) + ms).toISOString());
const MINUTE = 60_000;
/** Status, code and text of a refusal, which has the shape of the graph's errors. */
const refusal = ({ status, text, headers }: Fetched): { status: number; code: string; message: string } => {
  expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(headers.get('cache-control')).toBe('private, no-store');
  const { message, extensions } = JSON.parse(text).errors[0];
  return { status, code: extensions.code, message };
};
const tokenOf = (url: string): string => new URL(url).pathname.slice('/exports/'.length);

describe('a link to a file of calls', () => {
  it('gives nothing once a single character is another one, and says nothing about it', async () => {
    await scene.settle(scene.row());
    const url = await scene.link(scene.ours.member);
    const token = tokenOf(url);
    const answers = new Set<string>();
    for (let i = 0; i < token.length; i += 1) {
      const other = token[i] === 'A' ? 'B' : 'A';
      const { status, text } = await get(url.replace(token, token.slice(0, i) + other + token.slice(i + 1)));
      answers.add(`${status} ${text}`);
    }
    for (const wrong of [
      '',
      'x',
      '.',
      '..%2f',
      '1.',
      token.split('.')[0]!,
      `${token}.`,
      `${token}/`,
      `x${token}`,
      'A'.repeat(7_000),
    ]) {
      const { status, text } = await get(url.replace(token, wrong));
      answers.add(`${status} ${text}`);
    }
    expect([...answers]).toEqual([
      '404 {"errors":[{"message":"There is no such file.","extensions":{"code":"NOT_FOUND"}}]}',
    ]);
    expect((await get(url)).status).toBe(200);
  });

  it('of another installation is no link here', async () => {
    const url = await scene.link(scene.ours.member);
    const stranger = new ExportLinks(randomBytes(32).toString('base64'));
    const link = {
      organizationId: scene.ours.organizationId,
      userId: scene.ours.operator.id,
      tokenId: null,
      filter: { organizationIds: null, userIds: null },
      asOf: new Date(),
      names: '0/0/0',
      madeAt: new Date(),
    };
    expect(refusal(await get(url.replace(tokenOf(url), stranger.tokenOf(link)!)))).toMatchObject({
      status: 404,
      code: 'NOT_FOUND',
    });
  });

  it('says who, what and when, and nothing that is secret', async () => {
    const url = await scene.link(scene.ours.member, { models: ['m'] });
    expect(url).not.toContain(scene.ours.member.token);
    const { data } = await scene.ask(scene.ours.member);
    expect(Date.parse(data.exportUsage.expiresAt) - Date.now()).toBeGreaterThan(14 * MINUTE);
    expect(Date.parse(data.exportUsage.expiresAt) - Date.now()).toBeLessThan(15 * MINUTE + 1_000);
  });

  it('has to be used within 15 minutes; then it says what to do', async () => {
    await setClock(scene.database.db, NOW);
    const url = await scene.link(scene.ours.member);
    await clockAfter(15 * MINUTE);
    expect((await get(url)).status).toBe(200);
    await clockAfter(15 * MINUTE + 1);
    expect(refusal(await get(url))).toEqual({
      status: 410,
      code: 'NOT_FOUND',
      message: expect.stringContaining('exportUsage'),
    });
    expect((await get(url, {}, 'HEAD')).status).toBe(410);
  });

  it('whoever began in time may go on for a day, and proves it with the tag of the file', async () => {
    await scene.settle(scene.row());
    await setClock(scene.database.db, NOW);
    const url = await scene.link(scene.ours.member);
    const whole = await get(url);
    const tag = whole.headers.get('etag')!;
    expect(tag).toMatch(/^"[\w-]{22}"$/);
    const rest = (headers: Record<string, string>): Promise<Fetched> => get(scene.elsewhere(url), headers);
    await clockAfter(24 * 60 * MINUTE);
    expect([
      (await rest({ range: 'bytes=100-', 'if-range': tag })).status,
      (await rest({ range: 'bytes=100-', 'if-range': tag })).body,
    ]).toEqual([206, whole.body.subarray(100)]);
    for (const headers of [
      { range: 'bytes=100-' },
      { range: 'bytes=100-', 'if-range': '"x"' },
      { 'if-range': tag },
      {},
    ] as Record<string, string>[])
      expect(refusal(await rest(headers))).toMatchObject({ status: 410 });
    await clockAfter(24 * 60 * MINUTE + 1);
    expect(refusal(await rest({ range: 'bytes=100-', 'if-range': tag }))).toMatchObject({ status: 410 });
  });

  it('gives nothing to whoever may no longer read what is in it', async () => {
    const { admin, analyst, member } = scene.ours;
    const { people } = scene.app.services;
    await scene.settle(scene.row());
    const denied = async (url: string): Promise<void> => {
      for (const where of [url, scene.elsewhere(url)])
        expect(refusal(await get(where))).toEqual({ status: 403, code: 'FORBIDDEN', message: expect.any(String) });
    };
    const ofAnalyst = await scene.link(analyst);
    await people.setUserRole(admin.viewer, analyst.id, 'MEMBER');
    await denied(ofAnalyst);
    await people.setUserRole(admin.viewer, analyst.id, 'ADMIN');
    expect((await get(ofAnalyst)).status).toBe(200);

    const ofMember = await scene.link(member);
    await people.setUserRole(admin.viewer, member.id, 'ANALYST');
    expect((await get(ofMember)).status).toBe(200);
    await people.setUserBlocked(admin.viewer, member.id, true);
    await denied(ofMember);
    await people.setUserBlocked(admin.viewer, member.id, false);
    expect((await get(ofMember)).status).toBe(200);
    await people.revokeApiToken(admin.viewer, member.tokenId);
    await denied(ofMember);

    const ofOther = await scene.link(analyst);
    await people.deleteUser(admin.viewer, analyst.id);
    await denied(ofOther);
  });

  it('an operator who no longer is one reads nothing of others', async () => {
    const { db } = scene.database;
    const { operator } = scene.ours;
    const [all, own] = [
      await scene.link(operator),
      await scene.link(operator, { organizationIds: [scene.ours.organizationId] }),
    ];
    await db.query(`UPDATE users SET role = 'ADMIN' WHERE id = $1`, [operator.id]);
    expect([(await get(all)).status, (await get(own)).status]).toEqual([403, 200]);
  });

  it('never gives another file than the one that it was made for: after names have changed, or calls were dropped, it has ended', async () => {
    const { db } = scene.database;
    const { analyst, member, organizationId } = scene.ours;
    await scene.settle(scene.row());
    const changes: [sql: string, id: string, back: string][] = [
      [
        `UPDATE users SET name = 'Someone Else' WHERE id = $1`,
        member.id,
        `UPDATE users SET name = 'Ours member' WHERE id = $1`,
      ],
      [
        `UPDATE organizations SET name = 'Renamed' WHERE id = $1`,
        organizationId,
        `UPDATE organizations SET name = 'Ours' WHERE id = $1`,
      ],
      [
        `UPDATE usage_retention SET dropped_before = '2026-01-01T00:00:00Z' WHERE $1 <> ''`,
        'x',
        `UPDATE usage_retention SET dropped_before = '-infinity' WHERE $1 <> ''`,
      ],
    ];
    const url = await scene.link(analyst);
    const { body } = await get(url);
    for (const [sql, id, back] of changes) {
      await db.query(sql, [id]);
      for (const where of [url, scene.elsewhere(url)])
        for (const headers of [{}, { range: 'bytes=10-' }] as Record<string, string>[])
          expect([sql, refusal(await get(where, headers))]).toEqual([
            sql,
            { status: 410, code: 'NOT_FOUND', message: expect.stringContaining('exportUsage') },
          ]);
      await db.query(back, [id]);
      expect((await get(url)).body).toEqual(body);
    }
    // Of another organisation, or of somebody who came later, it is about nobody in the file.
    await db.query(`UPDATE users SET name = 'Someone Else' WHERE id = $1`, [scene.theirs.member.id]);
    await scene.app.services.people.createUser(scene.ours.admin.viewer, {
      name: 'New',
      role: 'MEMBER',
      planId: scene.ours.planId,
    });
    expect((await get(url)).body).toEqual(body);
  });

  it('is in no log, whatever becomes of it', async () => {
    await scene.settle(scene.row());
    const url = await scene.link(scene.ours.member);
    const token = tokenOf(url);
    await get(url);
    for (const bad of [`${url}x`, `${url}%zz`, `${url}?a=b`, `${url}#x`]) await get(bad);
    await scene.database.db.query(`ALTER TABLE llm_usage RENAME TO hidden`);
    try {
      expect(refusal(await get(url))).toMatchObject({ status: 500, code: 'INTERNAL_SERVER_ERROR' });
    } finally {
      await scene.database.db.query(`ALTER TABLE hidden RENAME TO llm_usage`);
    }
    await waitFor(() => scene.app.log.some(({ message }) => message === 'an export was read'));
    const said = scene.app.log.map(
      ({ object, message }) =>
        `${message} ${JSON.stringify(object)} ${object instanceof Error ? object.stack : ''} ${String((object as { err?: Error }).err?.stack)}`,
    );
    expect(said.filter((line) => line.includes(token) || line.includes(token.slice(20, 60)))).toEqual([]);
    expect(said.length).toBeGreaterThan(1);
  });

  it('of one user, three are read at a time, and the fourth is told when to come again', async () => {
    // More than what lies in the buffers between the two.
    await scene.settle(
      ...Array.from({ length: 2_500 }, (_, i) =>
        scene.row({ occurred_at: new Date(Date.UTC(2026, 9, 1) + i).toISOString(), agent: 'x'.repeat(8_000) }),
      ),
    );
    const { member, analyst } = scene.ours;
    const url = await scene.link(member);
    const running: Response[] = [];
    for (let i = 0; i < 3; i += 1) running.push(await fetch(url));
    const answer = await get(url);
    expect(refusal(answer)).toMatchObject({ status: 429, code: 'RATE_LIMITED' });
    expect(answer.headers.get('retry-after')).toBe('10');
    // Not for others, and no longer when one of them has ended, or was given up.
    const statusFor = async (user: TestUser): Promise<number> => (await get(await scene.link(user), {}, 'HEAD')).status;
    expect(await statusFor(analyst)).toBe(200);
    await running[0]!.body!.cancel();
    await waitFor(async () => (await get(url, {}, 'HEAD')).status === 200, { what: 'a place after one was given up' });
    for (const response of running.slice(1)) await response.arrayBuffer();
  });
});
