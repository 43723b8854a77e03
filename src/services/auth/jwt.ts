import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { AppError } from '../../errors';
import type { Role } from '../../domain/principal';

/** Seconds by which the clocks of the identity provider and of this server may differ. */
export const CLOCK_SKEW_SECONDS = 30;
const MAX_TEXT = 200;
const MAX_SUBJECT = 255;
const MAX_SESSION = 200;

/** What a JWT says of its bearer. */
export interface JwtIdentity {
  subject: string;
  /** null: the claim is not there. */
  name: string | null;
  email: string | null;
  /** null: the role is not the identity provider's business. */
  role: Role | null;
  /** Id or name of the organisation; null: the token does not say. */
  organization: string | null;
  /** The login at the provider: `sid`, else the token's own id, `jti`; null: it names neither. */
  sessionId: string | null;
  issuedAtMs: number;
  /** With the skew: until then it is accepted. */
  expiresAtMs: number;
}

/**
 * The identity provider whose tokens count, and what its claims say. null for `jwksUrl`: API tokens alone are taken.
 */
export interface AuthConfig {
  jwksUrl: string | null;
  issuer: string | null;
  audience: string | null;
  algorithms: string[];
  defaultPlan: string | null;
  defaultOrganization: string | null;
  roleClaim: string | null;
  organizationClaim: string | null;
}
type Jose = typeof import('jose', { with: { 'resolution-mode': 'import' } });

/** Verifies JWTs of the platform's identity provider with its published keys. */
export class JwtVerifier {
  private ready: Promise<{ jose: Jose; keys: JWTVerifyGetKey }> | null = null;

  constructor(private readonly config: AuthConfig) {}

  /** Throws UNAUTHENTICATED, or SERVICE_UNAVAILABLE when the provider's keys cannot be had. */
  async verify(token: string): Promise<JwtIdentity> {
    this.ready ??= this.load();
    const { jose, keys } = await this.ready;
    const { payload } = await jose
      .jwtVerify(token, keys, {
        // A list of asymmetric algorithms: neither "none" nor an HMAC that is keyed with the public key can pass.
        algorithms: this.config.algorithms.filter((name) => !/^(none|HS)/i.test(name)),
        issuer: this.config.issuer ?? undefined,
        audience: this.config.audience ?? undefined,
        clockTolerance: CLOCK_SKEW_SECONDS,
        requiredClaims: [
          'sub',
          'exp',
          ...(this.config.issuer ? ['iss'] : []),
          ...(this.config.audience ? ['aud'] : []),
        ],
      })
      .catch((error: unknown) => {
        throw refusal(error);
      });
    return readClaims(payload, this.config);
  }

  private async load(): Promise<{ jose: Jose; keys: JWTVerifyGetKey }> {
    // An ES module: this is the only way to it from CommonJS on every supported Node.
    const jose = await import('jose');
    // Unknown key ids make it look again, but not more often than the cooldown: forged ones must not become load for
    // the provider.
    return {
      jose,
      keys: jose.createRemoteJWKSet(new URL(this.config.jwksUrl!), {
        timeoutDuration: 5_000,
        cooldownDuration: 30_000,
        cacheMaxAge: 600_000,
      }),
    };
  }
}

/** Faults of the token are the caller's; faults in getting the keys are not. */
function refusal(error: unknown): AppError {
  const code = (error as { code?: string }).code ?? '';
  const tokenFault = /^ERR_(JWT|JWS_|JOSE_ALG|JOSE_NOT_SUPPORTED|JWKS_NO_MATCHING|JWKS_MULTIPLE)/.test(code);
  const internal = `JWT: ${error instanceof Error ? error.message : String(error)}`;
  return tokenFault
    ? new AppError('UNAUTHENTICATED', { internal })
    : new AppError('SERVICE_UNAVAILABLE', {
        public: 'The keys of the identity provider cannot be read right now.',
        internal,
        cause: error,
      });
}

export function readClaims(
  payload: JWTPayload,
  config: Pick<AuthConfig, 'roleClaim' | 'organizationClaim'>,
): JwtIdentity {
  const subject = payload.sub;
  // Half a surrogate pair would be stored as a replacement character, and two subjects would be one user.
  if (
    typeof subject !== 'string' ||
    !subject ||
    subject.length > MAX_SUBJECT ||
    subject.includes('\0') ||
    !subject.isWellFormed()
  )
    throw new AppError('UNAUTHENTICATED', { internal: 'JWT: no usable subject' });
  const organization = config.organizationClaim ? claim(payload, config.organizationClaim) : undefined;
  const email = text(payload.email);
  return {
    subject,
    name: text(payload.name) ?? text(payload.preferred_username) ?? email,
    email: email !== null && email.includes('@') && payload.email_verified !== false ? email : null,
    role: config.roleClaim ? readRole(claim(payload, config.roleClaim)) : null,
    organization: text(organization),
    sessionId: session(payload.sid) ?? session(payload.jti),
    issuedAtMs: (typeof payload.iat === 'number' ? payload.iat : 0) * 1_000,
    expiresAtMs: (payload.exp! + CLOCK_SKEW_SECONDS) * 1_000,
  };
}

/** Names of claims may have dots in them (https://…); where none has this name, the dots lead inside. */
function claim(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path];
  let value: unknown = payload;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

const RANK: Role[] = ['MEMBER', 'ANALYST', 'ADMIN', 'OPERATOR'];

/**
 * The highest role that the claim names; other words mean nothing. OPERATOR rules the installation: only the exact word
 * gives it.
 */
function readRole(value: unknown): Role {
  const words = (Array.isArray(value) ? value : [value]).filter((word): word is string => typeof word === 'string');
  const named = words.map((word) =>
    word === 'OPERATOR' ? word : RANK.slice(0, 3).find((role) => role === word.toUpperCase()),
  );
  return RANK.reduce((highest, role) => (named.includes(role) ? role : highest), 'MEMBER' as Role);
}

/** As it is or not at all: two that were cut to the same text would be one session. */
function session(value: unknown): string | null {
  const usable =
    typeof value === 'string' &&
    value !== '' &&
    value.length <= MAX_SESSION &&
    !/\p{Cc}/u.test(value) &&
    value.isWellFormed();
  return usable ? value : null;
}

function text(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const clean = value
    .replace(/[\u0000-\u001f\u007f]/g, ' ')
    .trim()
    .slice(0, MAX_TEXT)
    .toWellFormed();
  return clean || null;
}
