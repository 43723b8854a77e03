import type { Db } from '../../database/pool';
import type { LitellmAdmin } from '../upstream/litellm/admin';
import type { Plan } from '../../domain/plan';
import type { KeyStore } from './key.store';

/** Stands for "no model": an empty list means all of them to the proxy. */
export const NO_MODEL = 'weir-no-model';

/**
 * Keeps the proxy's team of each plan in line with the models that the plan allows: one call to the proxy per change,
 * none without.
 */
export class TeamSync {
  constructor(
    private readonly deps: {
      db: Db;
      store: KeyStore;
      admin: LitellmAdmin;
      modelsOf(plan: Plan): string[];
      teamId(planId: string): Promise<string>;
      alone: KeyStore['alone'];
    },
  ) {}

  /**
   * Also with `force` where the proxy is thought to know: it may have lost its database. Throws SERVICE_UNAVAILABLE.
   */
  async sync(plan: Plan, force = false): Promise<void> {
    const { db, store, admin, alone } = this.deps;
    const models = this.modelsFor(plan);
    if (!force && same(await store.teamModels(db, plan.id), models)) return;
    const teamId = await this.deps.teamId(plan.id);
    await alone(db, `weir.team.${plan.id}`, async (tx) => {
      const told = await store.teamModels(tx, plan.id);
      if (!force && same(told, models)) return;
      const done = told
        ? (await admin.updateTeam(teamId, models)) || (await admin.createTeam(teamId, models))
        : (await admin.createTeam(teamId, models)) || (await admin.updateTeam(teamId, models));
      if (!done) throw new Error(`the proxy neither makes nor changes the team ${teamId}`);
      await store.writeTeam(tx, plan.id, models);
    });
  }

  private modelsFor(plan: Plan): string[] {
    const models = [...new Set(this.deps.modelsOf(plan))].sort();
    return models.length ? models : [NO_MODEL];
  }
}

const same = (told: string[] | null, models: string[]): boolean =>
  told !== null && told.length === models.length && told.every((model, index) => model === models[index]);
