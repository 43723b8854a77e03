import { newId } from '../../../src/lib/ids';
import type { LitellmRig } from '../../support/litellm-rig';
import { faults } from '../../support/provider-script';
import { ask } from '../../support/stream-fixture';
import { settledRow, settledRows } from '../../support/usage-rows';

export function spendCases(rig: LitellmRig): void {
  it('[20] gives our call id back, and finds it in any form', async () => {
    const { headers } = await rig.litellm.complete('test-chat', {
      headers: { 'x-litellm-call-id': 'call_of_the_test' },
    });
    expect(headers.get('x-litellm-call-id')).toBe('call_of_the_test');
    expect(await rig.litellm.spendRows('call_of_the_test')).toMatchObject([
      { metadata: { litellm_call_id: 'call_of_the_test' } },
    ]);
  });

  it('[20, 21, 22] a call of the product is found by its id, with the same tokens and cost, and with whose it was', async () => {
    const user = await rig.user();
    const { db } = rig.database;
    const [installation] = await db.query<{ id: string }>('SELECT id FROM installation');
    const projectId = newId('project');
    await db.query('INSERT INTO projects (id, organization_id, name) VALUES ($1, $2, $3)', [
      projectId,
      user.organizationId,
      'A project',
    ]);
    const { data } = await rig.app.chat(
      user.token,
      ask('good morning', { traceId: 'trace-of-the-app', projectId, scenario: 'BACKGROUND' }),
    );
    const row = (await settledRow(rig.database.db, data!.chat.call.id)) as any;
    const { hash } = await rig.keyOf(user);
    const [spend, ...more] = await rig.litellm.spendRows(row.id);
    expect(more).toEqual([]);
    expect(spend).toMatchObject({
      litellm_call_id: row.id,
      api_key: hash,
      status: 'success',
      prompt_tokens: 11,
      completion_tokens: 4,
      spend: Number(row.cost),
      model_group: 'test-chat',
      model_id: row.deployment,
    });
    expect(spend.metadata.spend_logs_metadata).toEqual({
      weir: {
        installation: installation!.id,
        call: row.id,
        org: user.organizationId,
        user: user.id,
        project: projectId,
        token: row.token_id,
        operation: 'CHAT',
        door: 'GRAPHQL',
        scenario: 'BACKGROUND',
      },
      trace_id: 'trace-of-the-app',
    });
    expect(row.token_id).toEqual(expect.any(String));
    // No word of what was said.
    expect(JSON.stringify(spend)).not.toContain('good morning');
  });

  it('[21] a call that failed is found too, as a failure', async () => {
    const user = await rig.user();
    rig.litellm.provider.script('test-chat', faults.contentPolicy());
    await rig.app.chat(user.token, ask('hello'));
    const row = (await settledRows(rig.database.db)).find(({ user_id: id }) => id === user.id)!;
    expect(await rig.litellm.spendRows(row.id)).toMatchObject([{ status: 'failure', spend: 0 }]);
  });
}
