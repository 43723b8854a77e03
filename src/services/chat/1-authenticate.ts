import { AppError } from '../../errors';
import type { Plan } from '../plan/plan.types';
import type { PlanServiceApi } from '../services';
import type { Viewer } from '../viewer/viewer.types';

/** Who pays and by which rules: the door's viewer with the plan in force now. */
export interface Principal { viewer: Viewer; plan: Plan }

/** The door has checked the token; this loads the plan, which may have been edited since. */
export async function authenticate(viewer: Viewer, plans: PlanServiceApi): Promise<Principal> {
  const plan = await plans.byId(viewer.planId);
  if (!plan) throw new AppError('INTERNAL_SERVER_ERROR', { internal: `user ${viewer.userId} is on plan ${viewer.planId}, which is not there` });
  return { viewer, plan };
}
