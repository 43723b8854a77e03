import { AppError } from '../../errors';
import type { Plan, Plans } from '../../domain/plan';
import type { Viewer } from '../../domain/principal';

/** Who pays and by which rules: the door's viewer with the plan in force now. */
export interface Caller {
  viewer: Viewer;
  plan: Plan;
}

/** The door has checked the credential; this loads the plan, which may have been edited since. */
export async function identify(viewer: Viewer, plans: Pick<Plans, 'byId'>): Promise<Caller> {
  const plan = await plans.byId(viewer.planId);
  if (plan) return { viewer, plan };
  throw new AppError('INTERNAL_SERVER_ERROR', {
    internal: `user ${viewer.userId} is on plan ${viewer.planId}, which is not there`,
  });
}
