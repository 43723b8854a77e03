/** One column of a view for people: what it is called, how it is made, and what somebody who sees it in a tool is told about it. */
export interface Column { name: string; type: string; sql: string; comment: string }

export const column = (name: string, type: string, comment: string, sql = name): Column => ({ name, type, sql, comment });

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A view whose reader's own rights count, and not its owner's; with a comment on itself and on each column. `from` goes on behind FROM. For migrations: what it writes never changes. */
export const commentedView = (name: string, comment: string, columns: readonly Column[], from: string): string => `
  CREATE VIEW analytics.${name} WITH (security_invoker = true) AS
    SELECT ${columns.map(({ name: title, sql }) => (sql === title ? sql : `${sql} AS ${title}`)).join(',\n      ')}
    FROM ${from};
  COMMENT ON VIEW analytics.${name} IS ${quoted(comment)};
  ${columns.map((c) => `COMMENT ON COLUMN analytics.${name}.${c.name} IS ${quoted(c.comment)};`).join('\n  ')}`;

/** A function that gives the same columns. Its body is parsed here and now, so that whoever calls it needs no right to look into other schemas, and no search path leads it astray. */
export const commentedFunction = (name: string, parameters: string, comment: string, columns: readonly Column[], from: string): string => `
  CREATE FUNCTION analytics.${name}(${parameters}) RETURNS TABLE (${columns.map((c) => `${c.name} ${c.type}`).join(', ')}) LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT ${columns.map((c) => c.sql).join(',\n        ')}
      FROM ${from};
    END;
  COMMENT ON FUNCTION analytics.${name} IS ${quoted(comment)};`;
