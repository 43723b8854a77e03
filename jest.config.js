'use strict';

const swc = [
  '@swc/jest',
  {
    jsc: {
      target: 'es2022',
      parser: { syntax: 'typescript', decorators: true },
      // The same kind of output as tsc gives: legacy decorators with their metadata, fields assigned and not defined.
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
      keepClassNames: true,
    },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  },
];

const project = (name, testMatch, extra = {}) => ({
  displayName: name,
  rootDir: __dirname,
  testEnvironment: 'node',
  testMatch: testMatch.map((pattern) => `<rootDir>/test/${pattern}`),
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/bench/dist/', '<rootDir>/.weir/'],
  transform: { '\\.[cm]?[jt]s$': swc },
  // Packages without a CommonJS form: jest cannot require them as they are.
  transformIgnorePatterns: ['/node_modules/(?!jose/)'],
  setupFiles: ['reflect-metadata'],
  ...extra,
});

// Named by several projects and run once: jest keeps the set of the paths.
const database = {
  globalSetup: '<rootDir>/test/global-setup.ts',
  globalTeardown: '<rootDir>/test/global-teardown.ts',
  setupFilesAfterEnv: ['<rootDir>/test/support/record-statements.ts'],
};

/** @type {import('jest').Config} */
module.exports = {
  projects: [
    project('unit', ['unit/**/*.test.ts']),
    project('integration', ['*.test.ts', 'integration/**/*.test.ts'], database),
    project('e2e', ['e2e/**/*.test.ts'], database),
    // Lanes of their own (scripts/lib/lanes.mjs).
    project('proofs', ['proofs/**/*.test.ts'], database),
    project('litellm', ['litellm/**/*.test.ts'], database),
    project('clients', ['clients/**/*.test.ts'], database),
  ],
  // Of one test. Longer than a wait's own deadline (test/support/wait.ts), so that the wait says what did not come: nothing here fails for being slow.
  testTimeout: 300_000,
  testSequencer: '<rootDir>/test/sequencer.js',
  maxWorkers: 2,
};
