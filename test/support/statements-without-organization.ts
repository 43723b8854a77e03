/** Statements of the product that may go over all organisations: a part of each that is in no other, and why. At most 25. */
export const WITHOUT_ORGANIZATION: readonly { part: string; reason: string }[] = [];
