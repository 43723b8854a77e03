-- What is against the rules of the schema (docs/releases.md, src/database/migrations/baseline/1-people.sql), from the catalogue of a migrated
-- database: one row per violation. The rules let tables be distributed by organisation, in the way in which Citus does it.
-- $1: names of the functions of the ledger.
WITH tables AS (
  SELECT c.oid AS rel, c.relname AS name, substring(obj_description(c.oid, 'pg_class') FROM '^(tenant|reference|local): ') AS kind
  FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
),
tenant AS (SELECT rel, name FROM tables WHERE kind = 'tenant'),
org AS (
  SELECT t.rel, a.attnum, a.attnotnull
  FROM tenant AS t LEFT JOIN pg_attribute AS a ON a.attrelid = t.rel AND a.attname = 'organization_id' AND NOT a.attisdropped
),
-- Without their comments, which may name what is forbidden.
functions AS (
  SELECT p.oid, p.proname AS name, p.oid::regprocedure::text AS signature, regexp_replace(pg_get_functiondef(p.oid), '--[^\n]*', '', 'g') AS text
  FROM pg_proc AS p WHERE p.pronamespace IN ('weir'::regnamespace, 'analytics'::regnamespace) AND p.prokind IN ('f', 'p')
),
policy_functions AS (
  SELECT DISTINCT p.polrelid::regclass::text AS at, p.polname || ' -> ' || f.signature AS what, f.name, f.text
  FROM pg_policy AS p
  JOIN pg_depend AS d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
  JOIN functions AS f ON f.oid = d.refobjid
)
SELECT rule, at, what FROM (
  SELECT 'a table says what kind it is: tenant, reference or local' AS rule, name::text AS at, coalesce(obj_description(rel, 'pg_class'), 'no comment') AS what
    FROM tables WHERE kind IS NULL

  UNION ALL SELECT 'R1 no organization_id', rel::regclass::text, '' FROM org WHERE attnum IS NULL
  UNION ALL SELECT 'R1 organization_id may be null', rel::regclass::text, '' FROM org WHERE NOT attnotnull
  UNION ALL SELECT 'R1 organization_id is not the first column', rel::regclass::text, 'is column ' || attnum FROM org WHERE attnum > 1
  UNION ALL SELECT 'R1 a column before it was dropped', o.rel::regclass::text, '' FROM org AS o
    JOIN pg_attribute AS d ON d.attrelid = o.rel AND d.attisdropped AND d.attnum > 0 AND d.attnum < o.attnum

  UNION ALL SELECT 'R2 unique key without organization_id first', o.rel::regclass::text, i.indexrelid::regclass::text FROM org AS o
    JOIN pg_index AS i ON i.indrelid = o.rel AND i.indisunique WHERE o.attnum IS NULL OR i.indkey[0] <> o.attnum

  UNION ALL SELECT 'R3 foreign key between tenants'' tables without organization_id', c.conrelid::regclass::text, c.conname FROM pg_constraint AS c
    JOIN org AS o ON o.rel = c.conrelid
    WHERE c.contype = 'f' AND c.confrelid IN (SELECT rel FROM tenant) AND (o.attnum IS NULL OR NOT o.attnum = ANY (c.conkey))
  UNION ALL SELECT 'R3 foreign key from a table of all to a tenant''s', c.conrelid::regclass::text, c.conname FROM pg_constraint AS c
    WHERE c.contype = 'f' AND c.confrelid IN (SELECT rel FROM tenant) AND c.conrelid IN (SELECT rel FROM tables WHERE kind IS DISTINCT FROM 'tenant')

  UNION ALL SELECT 'R4 trigger', t.tgrelid::regclass::text, t.tgname FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace

  UNION ALL SELECT 'R5 policy reads a table', p.polrelid::regclass::text, p.polname FROM pg_policy AS p
    WHERE concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) ~* '\mselect\M'
  UNION ALL SELECT 'R5 policy calls a function that reads a table of ours', f.at, f.what FROM policy_functions AS f
    WHERE EXISTS (SELECT FROM tables AS t WHERE f.text ~* ('\m(from|join)\s+(public\.)?' || t.name || '\M'))
  UNION ALL SELECT 'R5 policy calls a function that calls another one of ours', f.at, f.what FROM policy_functions AS f
    WHERE EXISTS (SELECT FROM functions AS g WHERE g.name <> f.name AND f.text ~ ('\m(weir|analytics)\.' || g.name || '\('))

  UNION ALL SELECT 'R6 identity or sequence in a tenant''s table', a.attrelid::regclass::text, a.attname FROM pg_attribute AS a
    JOIN tenant AS t ON t.rel = a.attrelid
    WHERE a.attidentity <> '' OR EXISTS (
      SELECT FROM pg_attrdef AS d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval%')

  UNION ALL SELECT 'R7 function takes a row of a tenant''s table', p.oid::regprocedure::text, '' FROM pg_proc AS p
    JOIN pg_type AS y ON y.oid = ANY (p.proargtypes) JOIN tenant AS t ON t.rel = y.typrelid

  UNION ALL SELECT 'R11 := (SELECT …): use SELECT … INTO', signature, substring(text FROM '\S*\s*:=\s*\(\s*SELECT\M') FROM functions
    WHERE text ~* ':=\s*\(\s*SELECT\M'
  UNION ALL SELECT 'R11 the clock in SET: use a variable', signature, substring(text FROM '(?i)\mSET\s[^;]*?\m(?:weir\.)?(?:now|clock)\(\)') FROM functions
    -- Of UPDATE, up to what follows its assignments.
    WHERE text ~* '\m(UPDATE\s+(ONLY\s+)?[\w.]+(\s+(AS\s+)?\w+)?|DO\s+UPDATE)\s+SET\s((?!\m(WHERE|FROM|RETURNING)\M)[^;])*?\m(weir\.)?(now|clock)\(\)'
  UNION ALL SELECT 'R11 NOTIFY in a function: src/database/alert-notice.ts', signature, '' FROM functions WHERE text ~* '\mpg_notify\s*\(|\mNOTIFY\s+\w'
  UNION ALL SELECT 'R11 ctid in the ledger', signature, '' FROM functions WHERE text ~* '\mctid\M' AND name = ANY ($1::text[])

  -- Those that Postgres names itself: weir_check1, plans_name_fkey2 … NOT NULL (n) has no name in our files.
  UNION ALL SELECT 'a constraint is named, by its table', c.conrelid::regclass::text, c.conname FROM pg_constraint AS c
    JOIN tables AS t ON t.rel = c.conrelid
    WHERE c.contype <> 'n' AND t.name <> 'weir_migrations'
      AND c.conname !~ ('^' || t.name || CASE c.contype WHEN 'p' THEN '_pkey$' WHEN 'u' THEN '_(\w+_)?key$' WHEN 'f' THEN '_\w+_fkey$' ELSE '_\w+_check$' END)
  UNION ALL SELECT 'an index is named, by its table', t.name::text, c.relname FROM pg_index AS i
    JOIN tables AS t ON t.rel = i.indrelid JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE t.name <> 'weir_migrations' AND c.relname !~ ('^' || t.name || '_(\w+_)?(pkey|key|idx)$')
) AS found ORDER BY rule, at, what;
