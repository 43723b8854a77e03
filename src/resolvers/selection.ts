import { Kind, type GraphQLResolveInfo, type SelectionSetNode } from 'graphql';

/**
 * Names of all fields that may be selected somewhere below a field, fragments included, whatever `@skip` and `@include`
 * say.
 */
export function namesBelow(info: Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>): Set<string> {
  const names = new Set<string>();
  const fragments = new Set<string>();
  const collect = (set: SelectionSetNode | undefined): void => {
    for (const node of set?.selections ?? []) {
      if (node.kind === Kind.FIELD) names.add(node.name.value);
      else if (node.kind === Kind.FRAGMENT_SPREAD) {
        if (fragments.has(node.name.value)) continue;
        fragments.add(node.name.value);
        collect(info.fragments[node.name.value]?.selectionSet);
        continue;
      }
      collect(node.selectionSet);
    }
  };
  for (const node of info.fieldNodes) collect(node.selectionSet);
  return names;
}
