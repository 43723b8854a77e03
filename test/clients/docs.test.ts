import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gql } from '@apollo/client/core';
import { commitMutation, requestSubscription } from 'relay-runtime';
import { WebSocket } from 'ws';
import { example } from '../support/client-suite';
import { blocksOf } from '../support/doc-blocks';
import { operation, possibleTypes } from '../support/operations';
import { relayRequest } from '../support/relay-request';
import { ask, createFixture, type Fixture } from '../support/stream-fixture';
import { settledRows } from '../support/usage-rows';
import { eventually } from '../support/wait';
import { textOf, type StreamEvent } from '../support/ws-client';

const DEADLINE_MS = 10_000;
const blocks = new Map(blocksOf('docs/clients.md').flatMap((block) => (block.run ? [[block.run, block.text]] : [])));
/** What the blocks import is given to them. */
const modules = {
  ...example('browser-chat/resuming.js'),
  ...example('browser-chat/stream-chat.js'),
  ...Object.assign({}, ...['sockets', 'apollo', 'urql', 'relay', 'sse'].map((name) => example(`clients/${name}.js`))),
};

/**
 * Runs a block as it stands in the document, with the names that it takes from elsewhere; gives what it declares under
 * one of these names.
 */
async function run(name: string, given: Record<string, unknown>, wanted: string[] = []): Promise<Record<string, any>> {
  const text = blocks.get(name)!.replace(/^import .*$/gm, '');
  const names = { ...modules, ...given };
  const AsyncFunction = (async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<Record<string, any>>;
  return new AsyncFunction(...Object.keys(names), `${text}\nreturn { ${wanted.join(', ')} };`)(...Object.values(names));
}

describe('the code of docs/clients.md', () => {
  let fixture: Fixture;
  const web = globalThis as { WebSocket?: unknown; sessionStorage?: unknown };
  const before = { WebSocket: web.WebSocket, sessionStorage: web.sessionStorage };
  beforeAll(async () => {
    fixture = await createFixture();
    const kept = new Map<string, string>();
    Object.assign(web, {
      WebSocket,
      sessionStorage: {
        getItem: (name: string) => kept.get(name) ?? null,
        setItem: (name: string, value: string) => kept.set(name, value),
        removeItem: (name: string) => kept.delete(name),
      },
    });
  });
  afterAll(async () => {
    Object.assign(web, before);
    await fixture.close();
  });
  const place = (): object => ({ url: fixture.app.url, token: () => fixture.member.token });

  it('asks and shows without a library', async () => {
    const texts: string[] = [];
    const bills: unknown[][] = [];
    await eventually(
      run('stream-chat', {
        ...place(),
        model: 'test-chat',
        show: (text: string) => texts.push(text),
        showConnection: () => {},
        showBill: (...bill: unknown[]) => bills.push(bill),
      }),
      'the block',
    );
    expect(texts.at(-1)).toBe('You said: Why is the sky blue?');
    // The model has no price here.
    expect(bills).toEqual([[18, undefined]]);
  });

  it.each(['graphql-ws', 'apollo', 'urql', 'relay', 'graphql-sse'])('streams and stops with %s', async (name) => {
    const events: StreamEvent[] = [];
    let end!: (error?: unknown) => void;
    const ended = new Promise<unknown>((resolve) => (end = resolve));
    const given = {
      ...place(),
      query: operation('chat-stream'),
      input: ask('Hello'),
      possibleTypes: possibleTypes(),
      gql,
      requestSubscription,
      commitMutation,
      chatStream: relayRequest('chat-stream'),
      stopStream: relayRequest('stop-stream'),
      onEvent: (event: StreamEvent) => events.push(event),
      onError: end,
      onEnd: () => end(),
    };
    const stops = ['apollo', 'urql', 'relay'].includes(name);
    const { stop, client, socket } = await run(name, given, stops ? ['stop'] : []);
    expect(await eventually(ended, 'the end')).toBeUndefined();
    expect(textOf(events)).toBe('You said: Hello');
    expect(events.at(-1)).toMatchObject({ __typename: 'StreamCompleted' });
    if (stops) await stop(events[0]!.streamId);
    client?.stop?.();
    await socket?.dispose?.();
  });

  it('streams in a shell, and the same key again is the same call', async () => {
    const calls = (await settledRows(fixture.database.db)).length;
    const asItStands = blocks.get('curl')!.replace('"idempotencyKey"', '"model": "test-chat", "idempotencyKey"');
    const text = asItStands.replace(/^key=.*$/m, 'key=curl-1');
    expect(text).not.toBe(asItStands);
    const curl = async (text: string): Promise<string> =>
      (
        await promisify(execFile)('bash', ['-c', text], {
          env: { ...process.env, WEIR_URL: fixture.app.url, WEIR_TOKEN: fixture.member.token },
          timeout: DEADLINE_MS,
        })
      ).stdout;
    const first = await curl(text);
    expect([...first.matchAll(/^event: (\w+)/gm)].at(-1)?.[1]).toBe('complete');
    expect(first).toContain('"text":');
    expect(first).toContain('StreamCompleted');
    const idOf = (output: string): string | undefined => /"streamId":"(\w+)"/.exec(output)?.[1];
    expect(idOf(first)).toMatch(/^str_/);
    expect(idOf(await curl(text))).toBe(idOf(first));
    expect(await settledRows(fixture.database.db)).toHaveLength(calls + 1);
    // Another question is another call.
    const other = idOf(await curl(asItStands));
    expect(other).toMatch(/^str_/);
    expect(other).not.toBe(idOf(first));
    expect(await settledRows(fixture.database.db)).toHaveLength(calls + 2);
    // Why nothing came is said.
    expect(await curl(asItStands.replace('test-chat', 'no-such-model'))).toMatch(
      /"refusal":\{"code":"\w+","message":"[^"]+/,
    );
  });
});
