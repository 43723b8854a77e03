import { Kind, type DocumentNode, type FragmentDefinitionNode, type SelectionSetNode } from 'graphql';

/** How the fields of a document lie over the places of an answer: the most that any definition has. */
export interface QueryShape {
  /** All fields, fragments expanded; counting ends just beyond the limit. */
  fields: number;
  /** Fields with one path in the answer. */
  samePlace: number;
  /** Different aliases of one field beside each other. */
  aliasesOfField: number;
}

/** Fields of one path, merged as in the answer. */
interface Place {
  fields: number;
  below: Map<string, Place>;
  aliases: Map<string, Set<string>>;
}
const place = (): Place => ({ fields: 0, below: new Map(), aliases: new Map() });

/**
 * Looks at each definition for itself, because the rules of the language do, also at fragments that nothing uses. Needs
 * no schema.
 */
export function queryShape(document: DocumentNode, limit: number): QueryShape {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions)
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  const layout: QueryShape = { fields: 0, samePlace: 0, aliasesOfField: 0 };
  /** Fragments that are being expanded: a circle, which another rule refuses, ends here. */
  const open = new Set<string>();

  const spread = (name: string, at: Place): void => {
    const fragment = fragments.get(name);
    if (!fragment || open.has(name)) return;
    open.add(name);
    // Counts itself: fragments of spreads alone multiply, too.
    layout.fields += 1;
    lay(fragment.selectionSet, at);
    open.delete(name);
  };
  const lay = (set: SelectionSetNode, at: Place): void => {
    for (const node of set.selections) {
      if (layout.fields > limit) return;
      if (node.kind === Kind.INLINE_FRAGMENT) lay(node.selectionSet, at);
      else if (node.kind === Kind.FRAGMENT_SPREAD) spread(node.name.value, at);
      else {
        const name = node.name.value;
        const key = node.alias?.value ?? name;
        let next = at.below.get(key);
        if (!next) at.below.set(key, (next = place()));
        next.fields += 1;
        layout.fields += 1;
        layout.samePlace = Math.max(layout.samePlace, next.fields);
        if (node.alias) {
          let aliases = at.aliases.get(name);
          if (!aliases) at.aliases.set(name, (aliases = new Set()));
          aliases.add(key);
          layout.aliasesOfField = Math.max(layout.aliasesOfField, aliases.size);
        }
        if (node.selectionSet) lay(node.selectionSet, next);
      }
    }
  };
  for (const node of document.definitions) if ('selectionSet' in node) lay(node.selectionSet, place());
  return layout;
}
