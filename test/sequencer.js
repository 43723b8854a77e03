'use strict';

const path = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * The longest files first, the longest of them at the head. A fresh clone knows no times, and jest would go by size of file: the shortest files
 * take the longest, and the last minutes would have one worker alone. LiteLLM, which the first that asks for it installs, goes on before
 * start.test.ts wants it.
 */
const LONGEST = [
  'litellm/litellm.test.ts',
  'proofs/kill.test.ts',
  'proofs/pricing-schedules.test.ts',
  'proofs/planted-mistakes.test.ts',
  'e2e/start.test.ts',
  'integration/access.test.ts',
  'integration/reconciliation/reconciliation.test.ts',
  'proofs/ledger-schedules.test.ts',
  'proofs/postgres-restart.test.ts',
  'proofs/thousand.test.ts',
  'integration/usage/figures-equality.test.ts',
  'integration/analytics/sql-roles.test.ts',
  'integration/exports/export.resume.test.ts',
  'integration/streams/stream.stopped.test.ts',
  'integration/launch/postgres.test.ts',
].map((file) => path.join(__dirname, ...file.split('/')));

module.exports = class extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests);
    const rank = ({ path: file }) => (LONGEST.includes(file) ? LONGEST.indexOf(file) : LONGEST.length);
    return [...sorted].sort((a, b) => rank(a) - rank(b));
  }
};
