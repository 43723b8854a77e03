import { randomBytes } from 'node:crypto';
import { hashOf, type LitellmRig } from '../../support/litellm-rig';

/** What the proxy itself does with keys and teams. */
export function keyCases(rig: LitellmRig): void {
  const ask = (path: string, body: unknown): Promise<any> => rig.litellm.ask(path, { body });
  const newName = (): string => `fact-${randomBytes(6).toString('hex')}`;
  const newTeam = async (models: string[]): Promise<string> => {
    const id = newName();
    expect((await ask('/team/new', { team_id: id, team_alias: id, models })).status).toBe(200);
    return id;
  };
  const newKey = async (teamId: string): Promise<{ secret: string; hash: string; alias: string }> => {
    const secret = `sk-own-${randomBytes(24).toString('hex')}`;
    const alias = newName();
    const { status } = await ask('/key/generate', {
      key: secret,
      key_alias: alias,
      team_id: teamId,
      models: ['all-team-models'],
      metadata: { weir: 'yes' },
    });
    expect(status).toBe(200);
    return { secret, hash: hashOf(secret), alias };
  };
  const use = async (model: string, key: string): Promise<number | string> => {
    const { status, body } = await rig.litellm.complete(model, { key });
    return status === 200 ? 200 : body.error.type;
  };
  const UNKNOWN = hashOf('sk-nobody-has-this-key');

  it('[9] makes a key with the value that we chose, usable at once', async () => {
    const { secret } = await newKey(await newTeam(['test-chat']));
    expect(await use('test-chat', secret)).toBe(200);
  });

  it('[10] refuses a second key with the same alias, also the same key again', async () => {
    const team = await newTeam(['test-chat']);
    const { secret, alias } = await newKey(team);
    for (const key of [secret, `${secret}-2`]) {
      const again = await ask('/key/generate', { key, key_alias: alias, team_id: team, models: ['all-team-models'] });
      expect(again).toMatchObject({ status: 400, body: { error: { param: 'key_alias' } } });
    }
  });

  it('[11] makes a team once, and says that it is there already', async () => {
    const team = await newTeam(['test-chat']);
    const again = await ask('/team/new', { team_id: team, models: ['test-small'] });
    expect(again.status).toBe(400);
    expect(again.body.error.message).toMatch(/already exists/i);
  });

  it('[12] changes at once what all keys of a team may use; an unknown team is 404', async () => {
    const team = await newTeam(['test-chat']);
    const keys = [await newKey(team), await newKey(team)];
    // Each is used first, so that the proxy has it in its memory.
    for (const { secret } of keys) expect(await use('test-small', secret)).toBe('team_model_access_denied');
    expect((await ask('/team/update', { team_id: team, models: ['test-small'] })).status).toBe(200);
    for (const { secret } of keys)
      expect([await use('test-small', secret), await use('test-chat', secret)]).toEqual([
        200,
        'team_model_access_denied',
      ]);
    expect((await ask('/team/update', { team_id: 'no-such-team', models: ['test-small'] })).status).toBe(404);
  });

  it('[13] lets a team use nothing whose only model does not exist, and everything with an empty list', async () => {
    const nothing = await newKey(await newTeam(['weir-no-model']));
    expect(await use('test-chat', nothing.secret)).toBe('team_model_access_denied');
    const everything = await newKey(await newTeam([]));
    expect(await use('test-chat', everything.secret)).toBe(200);
  });

  it('[14] moves a key to another team, whose models hold at once', async () => {
    const { secret, hash } = await newKey(await newTeam(['test-chat']));
    expect(await use('test-chat', secret)).toBe(200);
    const other = await newTeam(['test-small']);
    expect((await ask('/key/update', { key: hash, team_id: other, metadata: { weir: 'moved' } })).status).toBe(200);
    expect([await use('test-small', secret), await use('test-chat', secret)]).toEqual([
      200,
      'team_model_access_denied',
    ]);
    expect((await ask('/key/update', { key: UNKNOWN, team_id: other })).status).toBe(404);
  });

  it('[15] blocks and unblocks a key at once; an unknown one is 404', async () => {
    const { secret, hash } = await newKey(await newTeam(['test-chat']));
    expect(await use('test-chat', secret)).toBe(200);
    expect((await ask('/key/block', { key: hash })).status).toBe(200);
    expect(await use('test-chat', secret)).toBe('auth_error');
    expect((await ask('/key/unblock', { key: hash })).status).toBe(200);
    expect(await use('test-chat', secret)).toBe(200);
    for (const path of ['/key/block', '/key/unblock']) expect((await ask(path, { key: UNKNOWN })).status).toBe(404);
  });

  it('[16] deletes keys by hash and by alias at once; what is not there is 404', async () => {
    const team = await newTeam(['test-chat']);
    const [first, second] = [await newKey(team), await newKey(team)];
    for (const { secret } of [first, second]) expect(await use('test-chat', secret)).toBe(200);
    expect((await ask('/key/delete', { keys: [first.hash] })).status).toBe(200);
    expect((await ask('/key/delete', { key_aliases: [second.alias] })).status).toBe(200);
    for (const { secret } of [first, second]) expect(await use('test-chat', secret)).toBe('token_not_found_in_db');
    expect((await ask('/key/delete', { keys: [first.hash] })).status).toBe(404);
    expect((await ask('/key/delete', { key_aliases: [second.alias] })).status).toBe(404);
    // The name and the value may be used again.
    expect(
      (
        await ask('/key/generate', {
          key: first.secret,
          key_alias: first.alias,
          team_id: team,
          models: ['all-team-models'],
        })
      ).status,
    ).toBe(200);
    expect(await use('test-chat', first.secret)).toBe(200);
  });

  it('[17] tells alias, team and state of a key by its hash, also after its deletion', async () => {
    const team = await newTeam(['test-chat']);
    const { hash, alias } = await newKey(team);
    const info = async (): Promise<any> => (await rig.litellm.ask(`/key/info?key=${hash}`)).body.info;
    expect(await info()).toMatchObject({ key_alias: alias, team_id: team });
    await ask('/key/block', { key: hash });
    expect((await info()).blocked).toBe(true);
    await ask('/key/delete', { keys: [hash] });
    expect((await info()).status).toBe('deleted');
    expect((await rig.litellm.ask(`/key/info?key=${UNKNOWN}`)).status).toBe(404);
  });

  it('[19] deletes the keys of a team with the team', async () => {
    const team = await newTeam(['test-chat']);
    const { secret } = await newKey(team);
    expect(await use('test-chat', secret)).toBe(200);
    expect((await ask('/team/delete', { team_ids: [team] })).status).toBe(200);
    expect(await use('test-chat', secret)).toBe('token_not_found_in_db');
  });
}
