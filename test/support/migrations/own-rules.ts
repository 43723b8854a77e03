import { CONTRACT, type Found } from './finding';
import { splitAtCommas, type Statement } from './sql-statements';

/** `before` are the statements of earlier files. */
export function ours(statements: readonly Statement[], before: readonly Statement[]): Found[] {
  const fresh = new Set(
    statements.flatMap(({ text }) =>
      (/^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?([\w.]+)/i.exec(text) ?? []).slice(1).map(plain),
    ),
  );
  return statements.flatMap((statement) => [
    ...dropped(statement),
    ...renamed(statement),
    ...altered(statement, fresh, before),
    ...created(statement, statements),
  ]);
}

/** squawk lets a file of one statement pass, which TypeORM runs in a transaction all the same. */
export function concurrent({ text, line }: Statement): Found[] {
  if (!/^(CREATE|DROP|REINDEX|ALTER) .*\bCONCURRENTLY\b/i.test(text)) return [];
  return [
    {
      line,
      rule: 'concurrently',
      message:
        'CONCURRENTLY cannot run in a transaction. Put it into a migration of its own with `transaction = false`.',
    },
  ];
}

/** What squawk lets pass. */
const DROPPED =
  /^DROP (FUNCTION|PROCEDURE|ROUTINE|AGGREGATE|(?:MATERIALIZED )?VIEW|SCHEMA|TYPE|DOMAIN|SEQUENCE|EXTENSION)\b/i;

function dropped({ text, line }: Statement): Found[] {
  const [, what] = DROPPED.exec(text) ?? [];
  return what
    ? [
        {
          line,
          rule: 'drop',
          message:
            `DROP ${what.toUpperCase()} breaks the release before, which still calls it while servers are ` +
            `replaced one by one. ${CONTRACT}`,
        },
      ]
    : [];
}

function renamed({ text, line }: Statement): Found[] {
  if (!/^ALTER .*\b(RENAME|SET SCHEMA)\b/i.test(text)) return [];
  return [
    {
      line,
      rule: 'rename',
      message:
        'The release before knows the old name only. Add the new one beside it, write both, read the new one, ' +
        'and drop the old one in a later release.',
    },
  ];
}

function altered({ text, line }: Statement, fresh: ReadonlySet<string>, before: readonly Statement[]): Found[] {
  const [, name, actions] = /^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?([\w.]+)(?: \*)? (.*)$/i.exec(text) ?? [];
  if (!name || fresh.has(plain(name))) return [];
  return splitAtCommas(actions!).flatMap((action): Found[] => {
    const [, notNull] = /^ALTER (?:COLUMN )?(\w+) SET NOT NULL$/i.exec(action) ?? [];
    if (notNull && !before.some((earlier) => checksNotNull(earlier, plain(name), notNull))) {
      return [
        {
          line,
          rule: 'set-not-null',
          message:
            `It reads the table under a lock. First ADD CONSTRAINT … CHECK (${notNull} IS NOT NULL) NOT ` +
            'VALID, VALIDATE CONSTRAINT in the next migration, and this in the one after.',
        },
      ];
    }
    if (/^ADD (?!CONSTRAINT\b|CHECK\b)(?:COLUMN )?.*\bCHECK \(/i.test(action)) {
      return [
        {
          line,
          rule: 'column-check',
          message:
            'The check reads the table under a lock. Add the column without it, then ADD CONSTRAINT … CHECK … ' +
            'NOT VALID, and VALIDATE CONSTRAINT in the next migration.',
        },
      ];
    }
    return [];
  });
}

const checksNotNull = ({ text }: Statement, table: string, column: string): boolean => {
  const [, name, condition] =
    /^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?([\w.]+) ADD CONSTRAINT \w+ CHECK \((.*)\) NOT VALID$/i.exec(text) ?? [];
  return (
    name !== undefined && plain(name) === table && new RegExp(`^\\(?${column} IS NOT NULL\\)?$`, 'i').test(condition!)
  );
};

function created({ text, line }: Statement, statements: readonly Statement[]): Found[] {
  const [, name, rest] = /^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?([\w.]+)(.*)$/i.exec(text) ?? [];
  // A partition is its parent's.
  if (!name || /^ ?PARTITION OF\b/i.test(rest!)) return [];
  const kind = statements
    .map(({ raw }) => /^COMMENT\s+ON\s+TABLE\s+"?([\w.]+)"?\s+IS\s+'(tenant|reference|local):/i.exec(raw))
    .find((match) => match && plain(match[1]!) === plain(name))?.[2];
  if (!kind)
    return [
      {
        line,
        rule: 'table-comment',
        message:
          `Say whose rows ${name} has: COMMENT ON TABLE ${name} IS 'tenant: …' (one organisation's), ` +
          `'reference: …' (everybody's, the same everywhere) or 'local: …' (of this server).`,
      },
    ];
  if (kind.toLowerCase() === 'tenant' && !/^ ?\( ?organization_id text NOT NULL\b/i.test(rest!)) {
    return [
      {
        line,
        rule: 'organization-first',
        message:
          `Make organization_id text NOT NULL the first column of ${name}, and begin its keys with it: it ` +
          'is a tenant table.',
      },
    ];
  }
  return [];
}

const plain = (name: string): string => name.replace(/^public\./i, '').toLowerCase();
