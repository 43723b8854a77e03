import { parseArgs } from 'node:util';
import { readDatabaseUrl } from './config';
import { openDatabase } from './entities/data-source';
import { migrate } from './entities/migrate';
import { PlanStore } from './services/plan/plan.store';
import { createOperator } from './services/viewer/create-operator';

const USAGE = `Usage: npm run admin -- create-operator --name <name> [--organization <name or id>]

Makes an operator, who runs the installation, in the database that DATABASE_URL names, and prints its token once.
Without --organization: the only one there is, else a new one called "Operators". A plan is made if there is none.`;

/** `npm run admin`: what cannot be done through the graph, because nobody may log in yet. */
async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { name: { type: 'string' }, organization: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (positionals.length !== 1 || positionals[0] !== 'create-operator' || !values.name) throw new Error(`what to do?\n\n${USAGE}`);
  const url = readDatabaseUrl();
  await migrate({ url });
  const db = await openDatabase({ url, poolSize: 1, applicationName: 'weir-admin' }, () => {});
  try {
    const made = await createOperator(db, new PlanStore(), { name: values.name, organization: values.organization ?? null });
    console.log(`Operator ${made.user.name} (${made.user.id}) in the organisation ${made.organization.name} (${made.organization.id}), plan ${made.planName}.`);
    console.log('Its token, shown this once:');
    console.log(made.secret);
  } finally {
    await db.close();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
