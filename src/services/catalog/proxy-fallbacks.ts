import type { ProxyRouting } from '../upstream/litellm/admin';

/** One rule of the proxy: `for` is a model, or `*` for all that have no rule of their own. */
interface Rule {
  for: string;
  then: string[];
}

/** The lists apart (`*` stands for whoever has no rule in the same list), and other names of models. */
export interface FallbackRules {
  lists: Rule[][];
  aliases: Map<string, string>;
}

/** The proxy's settings as rules. What is not in a shape that its router takes is left out, as it is there. */
export function readRouting(routing: ProxyRouting): FallbackRules {
  const general = [...readList(routing.fallbacks), { for: '*', then: readTargets(routing.default_fallbacks) }];
  const lists = [general, readList(routing.context_window_fallbacks), readList(routing.content_policy_fallbacks)];
  const named =
    typeof routing.model_group_alias === 'object' && routing.model_group_alias !== null
      ? Object.entries(routing.model_group_alias as Record<string, unknown>)
      : [];
  return {
    lists,
    aliases: new Map(named.flatMap(([alias, to]) => readTarget(to).map((model): [string, string] => [alias, model]))),
  };
}

/**
 * Every model that may answer in the place of this one, nearest first: the router goes on from a fallback to that one's
 * own fallbacks. It stops after a number of steps (`max_fallbacks`, five by default) and skips those that the caller's
 * key may not use;
 * both are left out here, so that the list is never too short. It is too short where the proxy chooses by other means
 * (a router model, a fallback in the parameters of a deployment): what such a call costs above its hold is booked as
 * overage.
 */
export function fallbacksOf(model: string, rules: FallbackRules): string[] {
  const found = new Set([model]);
  for (const name of found) for (const target of nextOf(name, rules)) found.add(target);
  found.delete(model);
  return [...found];
}

function nextOf(model: string, { lists, aliases }: FallbackRules): string[] {
  const alias = aliases.get(model);
  return [...(alias === undefined ? [] : [alias]), ...lists.flatMap((rules) => targetsIn(rules, model))];
}

/**
 * An exact rule ends the search. The router also lets `openai/gpt-4o` and `gpt-4o` stand for each other where it knows
 * the provider: all such rules count here.
 */
function targetsIn(rules: readonly Rule[], model: string): string[] {
  const exact = rules.find((rule) => rule.for === model);
  if (exact) return exact.then;
  return rules
    .filter((rule) => rule.for === '*' || rule.for.endsWith(`/${model}`) || model.endsWith(`/${rule.for}`))
    .flatMap((rule) => rule.then);
}

/** `[{"gpt-4o": ["claude"]}]`; a bare name in the list is a fallback of all models. */
function readList(list: unknown): Rule[] {
  if (!Array.isArray(list)) return [];
  return (list as unknown[]).flatMap((entry): Rule[] => {
    if (typeof entry === 'string') return [{ for: '*', then: [entry] }];
    if (typeof entry !== 'object' || entry === null) return [];
    return Object.entries(entry).map(([model, targets]) => ({ for: model, then: readTargets(targets) }));
  });
}

const readTargets = (targets: unknown): string[] =>
  Array.isArray(targets) ? (targets as unknown[]).flatMap(readTarget) : [];
/** A name, or `{"model": name, …}`. */
function readTarget(target: unknown): string[] {
  const name = typeof target === 'object' && target !== null ? (target as { model?: unknown }).model : target;
  return typeof name === 'string' && name !== '' ? [name] : [];
}
