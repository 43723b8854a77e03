// The lanes of the suite. A lane that is over its budget says so and does not fail for it: the machine may be slow.

/** `projects`: of jest.config.js. `minutes`: on two quiet cores. */
export const LANES = {
  main: { command: 'npm test', projects: ['unit', 'integration', 'e2e'], minutes: 9 },
  proofs: { command: 'npm run test:proofs', projects: ['proofs'], minutes: 8 },
  litellm: { command: 'npm run test:litellm', projects: ['litellm'], minutes: 9 },
  clients: { command: 'npm run test:clients', projects: ['clients'], minutes: 5 },
};

/** What `npm run test:quick` runs beside the unit tests: the integration tests of the rooms that these files are in. */
export function suitesOf(files) {
  const rooms = files.flatMap(
    (file) =>
      /^src\/services\/([^/]+)\//.exec(file)?.[1] ?? /^(?:src\/)?(server|database|launch)\//.exec(file)?.[1] ?? [],
  );
  const suites = files.filter((file) => /^test\/(integration|unit)\/.*\.test\.ts$/.test(file));
  return [
    ...new Set(['test/unit', 'test/architecture', ...rooms.map((room) => `test/integration/${room}/`), ...suites]),
  ];
}
