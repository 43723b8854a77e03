/**
 * The seed of a random test: the one that a variable names; with CI=true always the same, so that a run that fails
 * fails again; else another one each time. The test has it in its name.
 */
export const standingSeed = (variable: string): number =>
  Number(process.env[variable] ?? (process.env.CI === 'true' ? 1_795_300_000 : Math.floor(Date.now() / 1_000)));
