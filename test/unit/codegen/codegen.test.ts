import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = path.join(__dirname, '../../..');

/**
 * A client's use of the generated code. Its last line is wrong on purpose: types that allow everything would not
 * notice.
 */
const USE = `
import type { ResultOf } from '@graphql-typed-document-node/core';
import { ChatDocument, UsageByModelAndDayDocument, type ChatMutationVariables } from './operations';
import type { Model } from './types';

type Reply = Extract<ResultOf<typeof ChatDocument>['chat'], { __typename: 'ChatReply' }>;
export const variables: ChatMutationVariables = { input: { messages: [{ role: 'USER', content: 'Hello' }] } };
export const total = (reply: Reply): string | undefined => reply.cost?.total;
export const calls = (report: ResultOf<typeof UsageByModelAndDayDocument>): number => report.usage.totals.calls;
export const label = (model: Model): string => model.label;
// @ts-expect-error an exact amount is a string
export const wrong = (reply: Reply): number => reply.cost!.total;
`;

describe('clients that generate code', () => {
  it('get types from schema and operations that compile under strict rules', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-codegen-'));
    try {
      await run(process.execPath, [path.join(__dirname, 'generate.mjs'), path.join(ROOT, 'schema'), folder]);
      fs.writeFileSync(path.join(folder, 'use.ts'), USE);
      fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
      const compilerOptions = {
        strict: true,
        noEmit: true,
        target: 'es2022',
        module: 'esnext',
        moduleResolution: 'bundler',
        types: [],
      };
      fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
      const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc');
      const complaints = await run(process.execPath, [compiler, '-p', folder]).then(
        () => '',
        (error: { stdout: string }) => error.stdout || String(error),
      );
      expect(complaints).toBe('');
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
