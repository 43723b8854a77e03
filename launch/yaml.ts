export type YamlValue = string | number | boolean | null | YamlValue[] | { [name: string]: YamlValue };

/** Block style, strings quoted where they must be. Enough for configuration files that we write ourselves. */
export function toYaml(value: YamlValue): string {
  return `${lines(value).join('\n')}\n`;
}

function lines(value: YamlValue): string[] {
  if (Array.isArray(value)) return value.flatMap((entry) => indented(lines(entry), '- '));
  if (!isMap(value)) return [scalar(value)];
  return Object.entries(value).flatMap(([name, entry]) => {
    const isBlock = Array.isArray(entry) ? entry.length > 0 : isMap(entry) && Object.keys(entry).length > 0;
    return isBlock ? [`${text(name)}:`, ...indented(lines(entry), '  ')] : [`${text(name)}: ${scalar(entry)}`];
  });
}

const isMap = (value: YamlValue): value is { [name: string]: YamlValue } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The first line behind `start`, the others as far to the right. */
const indented = (block: string[], start: string): string[] =>
  block.map((line, i) => (i === 0 ? start : ' '.repeat(start.length)) + line);

function scalar(value: YamlValue): string {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'number') return decimal(value);
  return JSON.stringify(value);
}

/** Plain where nothing can be misread; JSON's quotes are YAML's too. */
const text = (value: string): string =>
  /^[A-Za-z][\w./-]*$/.test(value) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);

/** Written out: YAML 1.1 as Python reads it takes `1e-7` for a text. */
function decimal(value: number): string {
  const [digits = '', exponent] = String(value).split('e');
  if (exponent === undefined) return digits;
  const places = Number(exponent) < 0 ? (digits.split('.')[1]?.length ?? 0) - Number(exponent) : 0;
  return value.toFixed(Math.min(places, 100));
}
