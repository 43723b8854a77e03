import { parseArgs } from 'node:util';
import { reconcileByHand } from './admin-reconcile';
import { readDatabaseUrl } from './config';
import { openDatabase, type Db } from './database/pool';
import { migrate } from './database/migrate';
import type { SqlRole } from './services/analytics/sql-role.store';
import { SqlRoles } from './services/analytics/sql-roles';
import { PlanStore } from './services/plans/plan.store';
import { createOperator } from './services/accounts/create-operator';

const USAGE = `Usage: npm run admin -- <command>, in the database that DATABASE_URL names

create-operator --name <name> [--organization <name or id>]
  Makes an operator, who runs the installation, and prints its token once. Without --organization: the only one
  there is, else a new one called "Operators". A plan is made if there is none.

create-sql-role --organization <name or id> | --operators [--role <role>] [--accept-locks]
  Makes a database role that reads the figures of one organisation, or of all, with SQL (docs/analytics.md), and
  prints its password once. With --role: lets a role read that a database administrator has made; what it reads is
  in its name, weir_sql_<id of the organisation>_<suffix> or weir_sql_all_<suffix>. --accept-locks: also where
  nobody can keep it from taking locks that calls wait for.

list-sql-roles
drop-sql-role --role <role>

reconcile --from <time> --to <time>
  Compares our figures with the records of the proxy that LLM_BASE_URL and LITELLM_MASTER_KEY name, replaces estimates
  by what the proxy knows, and prints what differs (docs/reconciliation.md). A time is a day (UTC), or has its zone.`;

interface Options {
  name?: string;
  organization?: string;
  operators?: boolean;
  role?: string;
  'accept-locks'?: boolean;
  from?: string;
  to?: string;
}
interface Command {
  /** What was given makes sense for it. */ fits(options: Options): boolean;
  run(db: Db, url: string, options: Options): Promise<string[]>;
}

const COMMANDS: Record<string, Command> = {
  'create-operator': {
    fits: ({ name, operators, role }) => Boolean(name) && !operators && !role,
    run: async (db, _url, { name, organization }) => {
      const made = await createOperator(db, new PlanStore(), { name: name!, organization: organization ?? null });
      return [
        `Operator ${made.user.name} (${made.user.id}) in the organisation ${made.organization.name} (${made.organization.id}), plan ${made.planName}.`,
        'Its token, shown this once:',
        made.secret,
      ];
    },
  },
  'create-sql-role': {
    fits: ({ name, organization, operators }) => !name && Boolean(organization) !== Boolean(operators),
    run: async (db, url, { organization, role, 'accept-locks': acceptsLocks }) => {
      const made = await new SqlRoles(db).create({
        organization: organization ?? null,
        role: role ?? null,
        acceptsLocks,
      });
      const reads = made.organization
        ? `the organisation ${made.organization.name} (${made.organization.id})`
        : 'all organisations';
      const password = made.password === null ? [] : ['Its password, shown this once:', made.password];
      const advice =
        made.advice.length === 0
          ? []
          : [
              '',
              'A superuser can bound it further, in this database (docs/analytics.md says why):',
              '',
              ...made.advice.map((statement) => `${statement};`),
            ];
      const again = role ?? (made.password === null ? null : made.name);
      if (made.missing.length === 0)
        return [`The database role ${made.name} reads ${reads}: ${address(url, made.name)}`, ...password, ...advice];
      return [
        'Nothing reads yet: the database user of DATABASE_URL may not do this. A database administrator (a superuser) runs it first, in this database:',
        '',
        ...made.missing.map((statement) => `${statement};`),
        '',
        `Then: npm run admin -- create-sql-role ${made.organization ? `--organization ${made.organization.id}` : '--operators'}${again === null ? '' : ` --role ${again}`}${acceptsLocks ? ' --accept-locks' : ''}`,
        ...password,
      ];
    },
  },
  'list-sql-roles': {
    fits: (options) => Object.keys(options).length === 0,
    run: async (db) => {
      const roles = await new SqlRoles(db).list();
      return roles.length === 0 ? ['No role reads with SQL.'] : roles.map(lineOf);
    },
  },
  'drop-sql-role': {
    fits: ({ role, ...others }) => Boolean(role) && Object.keys(others).length === 0,
    run: async (db, _url, { role }) => {
      const { missing, ended } = await new SqlRoles(db).drop(role!);
      if (missing.length === 0) return [`The role ${role} is gone.`];
      const sessions = ended
        ? 'Its sessions were ended.'
        : 'We may not end its sessions: transactions that are open go on reading until somebody does.';
      return [
        `The role ${role} reads nothing any more. ${sessions} We may not drop it, or it owns something: a database administrator looks after it and runs`,
        '',
        ...missing.map((statement) => `${statement};`),
      ];
    },
  },
  reconcile: {
    fits: ({ from, to, ...others }) => Boolean(from && to) && Object.keys(others).length === 0,
    // It may run for long: printed as it comes.
    run: (db, _url, options) => reconcileByHand(db, options, (line) => console.log(line)),
  },
};

/** A role that reads, or one that somebody has taken the right from. */
function lineOf({ name, organizationId, organizationName, createdAt, reads }: SqlRole): string {
  const all = name.startsWith('weir_sql_all_');
  const what =
    organizationName === null
      ? all
        ? 'all organisations'
        : 'nothing, by its name'
      : `${organizationName} (${organizationId})`;
  const since = createdAt === null ? 'not made under this name here: renamed?' : `since ${createdAt.toISOString()}`;
  return `${name}  ${what}  ${since}${reads ? '' : '  reads nothing: its right was taken away, or it was renamed or dropped'}`;
}

/** Where to connect, without a password. */
function address(databaseUrl: string, role: string): string {
  const { hostname, port, pathname } = new URL(databaseUrl);
  return `host ${hostname || 'localhost'}, port ${port || '5432'}, database ${decodeURIComponent(pathname.slice(1))}, user ${role}`;
}

/**
 * `npm run admin`: what cannot be done through the graph, because nobody may log in yet, or because it is about the
 * database.
 */
async function main(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      organization: { type: 'string' },
      operators: { type: 'boolean' },
      role: { type: 'string' },
      'accept-locks': { type: 'boolean' },
      from: { type: 'string' },
      to: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { help, ...options } = values;
  if (help) {
    console.log(USAGE);
    return;
  }
  const command =
    positionals.length === 1 && Object.hasOwn(COMMANDS, positionals[0]!) ? COMMANDS[positionals[0]!] : undefined;
  if (!command?.fits(options)) throw new Error(`what to do?\n\n${USAGE}`);
  const url = readDatabaseUrl();
  await migrate({ url });
  const db = await openDatabase({ url, poolSize: 1, applicationName: 'weir-admin' }, () => {});
  try {
    for (const line of await command.run(db, url, options)) console.log(line);
  } finally {
    await db.close();
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
