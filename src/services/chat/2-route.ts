import { badInput } from '../../errors';
import type { CatalogModel, CatalogSnapshot } from '../model/model.types';
import type { ChatInput } from './chat.types';
import type { Principal } from './1-authenticate';

/** The model that is asked for. `served` is null for a name that the upstream does not know. */
export interface RouteChoice { model: string; served: CatalogModel | null }

/** `model` left out: the configured default (LLM_MODEL_CHAT), else the plan's. Throws BAD_USER_INPUT when there is none, or it is no chat model. */
export function chooseModel(principal: Principal, input: ChatInput, defaultModel: string | null, catalog: CatalogSnapshot): RouteChoice {
  const model = input.model ?? defaultModel ?? principal.plan.defaultModel;
  if (!model) throw badInput('input.model', 'name one of `models`: neither the server nor the plan has a default');
  const served = catalog.byId.get(model) ?? null;
  if (served && served.mode !== 'CHAT') throw badInput('input.model', `${model} is not a chat model`);
  return { model, served };
}
