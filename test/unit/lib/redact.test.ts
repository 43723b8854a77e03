import { createLogger } from '../../../src/lib/logger';
import { createRedactor, passwordsOf } from '../../../src/lib/redact';
import { slowness } from '../../support/slowness';

const CANARY = 'cAnArY0123456789abcdef';
const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ';

describe('a text without its secrets', () => {
  const redactor = createRedactor();
  it.each([
    `Authorization: Bearer ${CANARY}`,
    `authorization: ${CANARY}`,
    `{"authorization":"Bearer ${CANARY}"}`,
    `{"headers":{"x-api-key":"${CANARY}"}}`,
    `body was {\\"api_key\\":\\"${CANARY}\\"}`,
    `x-api-key=${CANARY}`,
    `got bearer ${CANARY}, expected another`,
    `Incorrect API key provided: sk-${CANARY}. Find yours at`,
    `sk-proj-${CANARY}`,
    `token weir_${CANARY} is revoked`,
    `postgres://weir:${CANARY}@db:5432/weir`,
    `https://${CANARY}@host/path`,
    `redis://:${CANARY}@cache`,
    `AIza${CANARY}${CANARY}`,
    `password=${CANARY}`,
    `Cookie: session=${CANARY}`,
  ])('%s', (text) => {
    expect(redactor.text(text)).not.toContain(CANARY);
  });

  it('JWTs', () => expect(redactor.text(`jwt ${JWT} expired`)).toBe('jwt [redacted] expired'));

  it('exact ones that were registered, in their escaped and encoded forms', () => {
    const own = createRedactor(['pa"ss/word 1']);
    own.register('master-1234');
    for (const text of [
      'pa"ss/word 1',
      JSON.stringify({ a: 'pa"ss/word 1' }),
      encodeURIComponent('pa"ss/word 1'),
      'master-1234',
    ])
      expect(own.text(text)).toContain('[redacted]');
    expect(own.text('master-1234567')).toBe('[redacted]567');
    own.register('abc');
    expect(own.text('abc')).toBe('abc');
  });

  it('leaves everything else as it is', () => {
    for (const text of [
      'usr_01j0000000000000000000000a asked task-runner',
      'https://example.com/a?b=c@d',
      'promptTokens: 5, tokens: 7',
      'the bearer of this',
      'mail bob@example.com',
      'weir_app role',
    ]) {
      expect(redactor.text(text)).toBe(text);
    }
  });

  it('takes time in proportion to the length, also for texts that are made to be slow', () => {
    for (const part of ['a://', '"authorization":"', 'bearer ', 'eyJaaaaa.', 'sk-', '\\"password\\":', ':@', 'a']) {
      const since = performance.now();
      redactor.text(part.repeat(32_768 / part.length));
      expect(performance.now() - since).toBeLessThan(1_000 * slowness());
    }
  });

  it('knows the passwords of URLs, decoded too', () => {
    expect(passwordsOf('postgres://u:p%40ss@h/d', 'http://h', null, 'no url')).toEqual(['p%40ss', 'p@ss']);
  });
});

describe('a log line', () => {
  const lines: string[] = [];
  const logger = createLogger({
    level: 'debug',
    redactor: createRedactor(['registered-secret']),
    write: (line) => lines.push(line),
  });
  beforeEach(() => void lines.splice(0));

  it('is one line of JSON with level, time and message, whatever is in it', () => {
    logger.child({ requestId: 'r1' }).info({ agent: 'a\r\n\u001b[31mred', callId: 'c1' }, 'served');
    expect(lines).toHaveLength(1);
    expect(lines[0]!.trimEnd()).not.toMatch(/[\r\n\u001b]/);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'info',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      requestId: 'r1',
      agent: 'a\r\n\u001b[31mred',
      callId: 'c1',
      msg: 'served',
    });
  });

  it('has no secret in it, wherever it stood, and stays JSON', () => {
    const cause = Object.assign(new Error(`upstream said {"error":"key sk-${CANARY} is \\"wrong\\""}`), {
      code: 'E1',
      headers: { authorization: `Bearer ${CANARY}` },
    });
    const error = new Error(`connect postgres://weir:${CANARY}@db/weir failed`, { cause });
    logger.error(
      {
        err: error,
        url: `http://u:${CANARY}@h`,
        headers: { 'api-key': CANARY, nested: [{ password: CANARY }] },
        note: 'registered-secret',
        text: `a \\"api_key\\":\\"${CANARY}\\" b`,
      },
      `token weir_${CANARY}`,
    );
    expect(lines.join()).not.toContain(CANARY);
    expect(lines.join()).not.toContain('registered-secret');
    const line = JSON.parse(lines[0]!);
    expect(line.err).toMatchObject({
      type: 'Error',
      message: 'connect postgres://[redacted]@db/weir failed',
      stack: expect.stringContaining('redact.test'),
      cause: { code: 'E1' },
    });
  });

  it('is cut when it is very long', () => {
    logger.warn({ prompt: 'x'.repeat(1_000_000), requestId: 'r2' }, 'large');
    expect(lines[0]!.length).toBeLessThan(5_000);
    expect(JSON.parse(lines[0]!)).toMatchObject({ msg: 'large', requestId: 'r2' });
    logger.error({ err: new Error('y'.repeat(20_000)) }, 'large error');
    expect(JSON.parse(lines[1]!).err.message.length).toBeLessThan(5_000);
  });
});
