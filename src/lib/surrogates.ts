/** Whether a unit of UTF-16 is the first half of a character: a text that is cut behind it is not well formed. */
export const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
