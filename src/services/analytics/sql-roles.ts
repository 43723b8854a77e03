import { randomBytes } from 'node:crypto';
import type { Db, Tx } from '../../database/pool';
import { scramVerifier } from './scram';
import { isSqlRoleName, sqlRoleName } from './sql-role-name';
import {
  dropStatement,
  endStatement,
  groupStatements,
  leaveStatement,
  limitStatement,
  memberStatement,
  reserveFunctions,
  roleStatements,
  SqlRoleStore,
  temporaryStatements,
  type Excess,
  type Openness,
  type SqlRole,
} from './sql-role.store';

export interface SqlRoleInput {
  /** Id or name; null: all of them, for operators. */
  organization: string | null;
  /** A role that somebody else has made, and whose name says that it reads that (sql-role-name.ts); null: a new one. */
  role: string | null;
  /**
   * Takes the role also where it could keep locks that calls wait for, because nobody can prevent that (a managed
   * Postgres). Default: false.
   */
  acceptsLocks?: boolean;
}
export interface CreatedSqlRole {
  name: string;
  /** null: of a role that was there, or that a database administrator has still to make. */
  organization: { id: string; name: string } | null;
  /** Shown once; null: the role was there and has one, or none is made before what is missing was run. */
  password: string | null;
  /**
   * Statements that our database user may not run itself: somebody else has to, and then this is asked for again with
   * the role's name. Empty: it is done.
   */
  missing: string[];
  /** Statements of a superuser that would bound it further. */
  advice: string[];
}
export interface DroppedSqlRole {
  /** What somebody else has to run; empty: the role is gone. */
  missing: string[];
  /** Whether its sessions were ended. If not, transactions that are open go on reading. */
  ended: boolean;
}

/** insufficient_privilege */
const isForbidden = (error: unknown): boolean => (error as { code?: string }).code === '42501';

const NAMED_AT_MOST = 20;

/** Whoever may call the functions of locks could stop every settlement. */
class LocksAreOpen extends Error {
  constructor(readonly owner: string) {
    super('the role could take locks that calls wait for');
  }
}

/** Roles with which people read by SQL. Asks for no role of ours: whoever can write to the database may do anything. */
export class SqlRoles {
  constructor(
    private readonly db: Db,
    private readonly store = new SqlRoleStore(),
  ) {}

  list(): Promise<SqlRole[]> {
    return this.store.list(this.db);
  }

  /**
   * Makes a role, or takes one that is there, and lets it read one organisation or everything. Throws where the role
   * could do more than that.
   */
  async create({ organization: named, role, acceptsLocks = false }: SqlRoleInput): Promise<CreatedSqlRole> {
    const organization = named === null ? null : await this.findOrganization(named);
    // Names of roles can be read by everybody at the server: they have the organisation's id, and not its name.
    const name = sqlRoleName(organization?.id ?? null, randomBytes(5).toString('hex'));
    if (role !== null && !isSqlRoleName(role, organization?.id ?? null))
      throw new Error(refusalOfName(role, organization));
    return this.createNamed(role ?? name, organization, role === null, acceptsLocks);
  }

  private async createNamed(
    name: string,
    organization: CreatedSqlRole['organization'],
    isNew: boolean,
    acceptsLocks: boolean,
  ): Promise<CreatedSqlRole> {
    const password = isNew ? randomBytes(24).toString('base64url') : null;
    const verifier = password === null ? '' : scramVerifier(password);
    try {
      const open = await this.db.transaction((tx) =>
        this.make(tx, name, organization?.id ?? null, isNew ? verifier : null, acceptsLocks),
      );
      return { name, organization, password, missing: [], advice: boundStatements(open, name) };
    } catch (error) {
      if (error instanceof LocksAreOpen)
        return { name, organization, password: null, missing: [reserveFunctions(error.owner)], advice: [] };
      if (!isForbidden(error)) throw error;
      const group = await this.store.group(this.db);
      const missing = [
        ...(group.exists ? [] : groupStatements(group.name)),
        ...(isNew ? roleStatements(name, verifier, group.name) : [memberStatement(name, group.name)]),
      ];
      const open = await this.store.openness(this.db, 'public');
      const bounds = boundStatements({ ...open, locks: open.locks && !acceptsLocks, spills: isNew }, name);
      return { name, organization, password, missing: [...missing, ...bounds], advice: [] };
    }
  }

  /** The role reads nothing any more, and is dropped where we may. */
  async drop(name: string): Promise<DroppedSqlRole> {
    if (!(await this.list()).some((role) => role.name === name))
      throw new Error(`no SQL role of this installation is called ${name}; list-sql-roles names them`);
    const { name: group } = await this.store.group(this.db);
    // The right to read goes first. Whoever made the role, we gave that, and may take it back.
    await this.db.transaction(async (tx) => {
      await this.store.lock(tx);
      if ((await this.store.isMember(tx, name, group)) !== null) await this.store.disallow(tx, name);
      await this.store.remove(tx, name);
    });
    const hasLeft = await this.leave(name, group);
    let ended = false;
    try {
      await this.db.transaction(async (tx) => {
        if ((await this.store.isMember(tx, name, group)) !== null) {
          await this.store.endSessions(tx, name);
          ended = true;
          await this.store.run(tx, [dropStatement(name)]);
        }
      });
      return { missing: [], ended: true };
    } catch (error) {
      // Of somebody else, or it owns something (dependent_objects_still_exist).
      if (!isForbidden(error) && (error as { code?: string }).code !== '2BP01') throw error;
      return {
        missing: [
          ...(hasLeft ? [] : [leaveStatement(name, group)]),
          ...(ended ? [] : [endStatement(name)]),
          dropStatement(name),
        ],
        ended,
      };
    }
  }

  /**
   * Whether the role is in the group no longer. Rights on tables are asked at each execution; within a transaction that
   * is open, no more.
   */
  private async leave(name: string, group: string): Promise<boolean> {
    try {
      if ((await this.store.isMember(this.db, name, group)) === true)
        await this.store.run(this.db, [leaveStatement(name, group)]);
    } catch (error) {
      if (!isForbidden(error)) throw error;
    }
    // Somebody else may have made it a member, and only they can take that back.
    return (await this.store.isMember(this.db, name, group)) !== true;
  }

  private async make(
    tx: Tx,
    name: string,
    organizationId: string | null,
    verifier: string | null,
    acceptsLocks: boolean,
  ): Promise<Openness> {
    await this.store.lock(tx);
    const group = await this.store.group(tx);
    if (!group.exists) await this.store.makeGroup(tx, group.name);
    if (verifier !== null) await this.store.run(tx, roleStatements(name, verifier, group.name));
    else {
      const isMember = await this.store.isMember(tx, name, group.name);
      if (isMember === null) throw new Error(`the database server has no role ${name}`);
      if (!isMember) await this.store.run(tx, [memberStatement(name, group.name)]);
    }
    await this.store.grant(tx);
    if (!(await this.store.mayConnect(tx, name)))
      throw new Error(
        `the role ${name} may not connect to this database, and we may not let it: GRANT CONNECT ON DATABASE … TO "${group.name}"`,
      );
    refuseExcess(name, await this.store.excess(tx, name));
    const open = await this.bound(tx, name, verifier !== null);
    if (open.locks && !acceptsLocks) throw new LocksAreOpen(open.owner);
    if (!(await this.store.insert(tx, name, organizationId)))
      throw new Error(`the role ${name} reads already: drop-sql-role first`);
    await this.store.allow(tx, name);
    return open;
  }

  /** Takes from everybody what a reader could stop others with, as far as we may. Gives what is left. */
  private async bound(tx: Tx, name: string, isNew: boolean): Promise<Openness> {
    const { owner, database, locks, temporary, isSuperuser, ownsDatabase, maySetLimit } = await this.store.openness(
      tx,
      name,
    );
    if (locks && isSuperuser) await this.store.run(tx, [reserveFunctions(owner)]);
    if (temporary && ownsDatabase) await this.store.run(tx, temporaryStatements(database, owner));
    if (isNew && maySetLimit) await this.store.run(tx, [limitStatement(name)]);
    return this.store.openness(tx, name);
  }

  private async findOrganization(named: string): Promise<{ id: string; name: string }> {
    const found = await this.store.organizationsNamed(this.db, named);
    if (found.length > 1)
      throw new Error(
        `more than one organisation is called ${named}: give its id (${found.map(({ id }) => id).join(', ')})`,
      );
    if (found.length === 0) throw new Error(`there is no organisation ${named}; ${await this.knownOrganizations()}`);
    return found[0]!;
  }

  private async knownOrganizations(): Promise<string> {
    const known = await this.store.organizations(this.db, NAMED_AT_MOST + 1);
    if (known.length === 0) return 'there is none at all';
    const names = known.slice(0, NAMED_AT_MOST).map(({ id, name }) => `${name} (${id})`);
    return `there are: ${names.join(', ')}${known.length > NAMED_AT_MOST ? ' and others' : ''}`;
  }
}

function refusalOfName(role: string, organization: CreatedSqlRole['organization']): string {
  const reads = organization ? `the organisation ${organization.name} (${organization.id})` : 'all organisations';
  const form = sqlRoleName(organization?.id ?? null, '<suffix>');
  return `the name of a role says what it reads, and ${role} does not say: ${reads}. Have it made as\n  CREATE ROLE ${form} LOGIN …\nwhere the suffix is of 0-9 and a-z, and the whole name of at most 63 characters`;
}

/** What is left of it for a superuser, in our database. */
const boundStatements = ({ owner, database, locks, temporary, spills }: Openness, name: string): string[] => [
  ...(spills ? [limitStatement(name)] : []),
  ...(temporary ? temporaryStatements(database, owner) : []),
  ...(locks ? [reserveFunctions(owner)] : []),
];

function refuseExcess(name: string, { isPrivileged, creates, reads, writes }: Excess): void {
  const problems = [
    ...(isPrivileged
      ? [
          'it is a superuser, may make roles, or is not bound by row security (BYPASSRLS, or a member of the owner of our tables)',
        ]
      : []),
    ...(creates.length > 0
      ? [`it may create objects in ${creates.join(', ')}: REVOKE CREATE ON SCHEMA … FROM PUBLIC`]
      : []),
    ...(reads.length > 0 ? [`it may read without row security: ${reads.join(', ')}`] : []),
    ...(writes.length > 0 ? [`it may write: ${writes.join(', ')}`] : []),
  ];
  if (problems.length > 0)
    throw new Error(
      `the role ${name} could do more than read what it is to see, and was not taken:\n${problems.map((problem) => `- ${problem}`).join('\n')}`,
    );
}
