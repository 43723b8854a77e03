import { randomBytes } from 'node:crypto';
import type { Db, Tx } from '../../entities/data-source';
import { scramVerifier } from './scram';
import { dropStatement, groupStatements, memberStatement, reserveFunctions, roleStatements, SqlRoleStore, type Excess, type SqlRole } from './sql-role.store';

export interface SqlRoleInput {
  /** Id or name; null: all of them, for operators. */
  organization: string | null;
  /** A role that somebody else has made; null: a new one. */
  role: string | null;
}
export interface CreatedSqlRole {
  name: string;
  /** null: of a role that was there, or that a database administrator has still to make. */
  organization: { id: string; name: string } | null;
  /** Shown once; null: the role was there and has one. */
  password: string | null;
  /** Statements that our database user may not run itself: somebody else has to, and then this is asked for again with the role's name. Empty: it is done. */
  missing: string[];
  /** What a superuser should run once, since the role could keep our locks; null: it could not. */
  advice: string | null;
}

/** insufficient_privilege */
const isForbidden = (error: unknown): boolean => (error as { code?: string }).code === '42501';

/** Roles with which people read by SQL. Asks for no role of ours: whoever can write to the database may do anything. */
export class SqlRoles {
  constructor(private readonly db: Db, private readonly store = new SqlRoleStore()) {}

  list(): Promise<SqlRole[]> {
    return this.store.list(this.db);
  }

  /** Makes a role, or takes one that is there, and lets it read one organisation or everything. Throws where the role could do more than that. */
  async create({ organization: named, role }: SqlRoleInput): Promise<CreatedSqlRole> {
    const organization = named === null ? null : await this.findOrganization(named);
    // Names of roles can be read by everybody at the server: they tell nothing.
    const name = role ?? `weir_sql_${randomBytes(5).toString('hex')}`;
    const password = role === null ? randomBytes(24).toString('base64url') : null;
    const verifier = password === null ? '' : scramVerifier(password);
    try {
      await this.db.transaction((tx) => this.make(tx, name, organization?.id ?? null, role === null ? verifier : null));
      const { owner, may } = await this.store.mayLock(this.db, name);
      return { name, organization, password, missing: [], advice: may ? reserveFunctions(owner) : null };
    } catch (error) {
      if (!isForbidden(error)) throw error;
      const group = await this.store.group(this.db);
      const missing = [...(group.exists ? [] : groupStatements(group.name)), ...(role === null ? roleStatements(name, verifier, group.name) : [memberStatement(name, group.name)])];
      return { name, organization, password, missing, advice: null };
    }
  }

  /** The role reads nothing any more, and is dropped where we may. `missing`: what somebody else has to run. */
  async drop(name: string): Promise<{ missing: string[] }> {
    if (!(await this.store.remove(this.db, name))) throw new Error(`no SQL role of this installation is called ${name}; list-sql-roles names them`);
    try {
      await this.db.transaction(async (tx) => {
        const group = await this.store.group(tx);
        if ((await this.store.isMember(tx, name, group.name)) === null) return;
        await this.store.endSessions(tx, name);
        await this.store.run(tx, [dropStatement(name)]);
      });
      return { missing: [] };
    } catch (error) {
      // Of somebody else, or it owns something (dependent_objects_still_exist).
      if (isForbidden(error) || (error as { code?: string }).code === '2BP01') return { missing: [dropStatement(name)] };
      throw error;
    }
  }

  private async make(tx: Tx, name: string, organizationId: string | null, verifier: string | null): Promise<void> {
    const group = await this.store.group(tx);
    if (!group.exists) await this.store.makeGroup(tx, group.name);
    if (verifier !== null) await this.store.run(tx, roleStatements(name, verifier, group.name));
    else {
      const isMember = await this.store.isMember(tx, name, group.name);
      if (isMember === null) throw new Error(`the database server has no role ${name}`);
      if (!isMember) await this.store.run(tx, [memberStatement(name, group.name)]);
    }
    await this.store.grant(tx);
    if (!(await this.store.mayConnect(tx, name))) throw new Error(`the role ${name} may not connect to this database, and we may not let it: GRANT CONNECT ON DATABASE … TO "${group.name}"`);
    refuseExcess(name, await this.store.excess(tx, name));
    if (!(await this.store.insert(tx, name, organizationId))) throw new Error(`the role ${name} reads already: drop-sql-role first`);
  }

  private async findOrganization(named: string): Promise<{ id: string; name: string }> {
    const found = await this.store.organizationsNamed(this.db, named);
    if (found.length !== 1) throw new Error(found.length === 0 ? `there is no organisation ${named}` : `more than one organisation is called ${named}: give its id`);
    return found[0]!;
  }
}

function refuseExcess(name: string, { isPrivileged, creates, reads, writes }: Excess): void {
  const problems = [
    ...(isPrivileged ? ['it is a superuser, may make roles, or is not bound by row security (BYPASSRLS, or a member of the owner of our tables)'] : []),
    ...(creates.length > 0 ? [`it may create objects in ${creates.join(', ')}: REVOKE CREATE ON SCHEMA … FROM PUBLIC`] : []),
    ...(reads.length > 0 ? [`it may read without row security: ${reads.join(', ')}`] : []),
    ...(writes.length > 0 ? [`it may write: ${writes.join(', ')}`] : []),
  ];
  if (problems.length > 0) throw new Error(`the role ${name} could do more than read what it is to see, and was not taken:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
}
