import type { JWTPayload } from 'jose';
import type { Config } from '../../../src/config';
import { JwtVerifier, readClaims } from '../../../src/services/auth/jwt';
import { TestIdentityProvider } from '../../support/jwks';

let provider: TestIdentityProvider;
let verifier: JwtVerifier;
const configOf = (fields: Partial<Config['auth']> = {}): Config['auth'] => ({
  jwksUrl: provider.url,
  issuer: provider.issuer,
  audience: provider.audience,
  algorithms: ['ES256'],
  defaultPlan: null,
  defaultOrganization: null,
  roleClaim: null,
  organizationClaim: null,
  ...fields,
});
beforeEach(async () => {
  provider = await TestIdentityProvider.start();
  verifier = new JwtVerifier(configOf());
});
afterEach(() => provider.stop());

const now = (): number => Math.floor(Date.now() / 1_000);
const refused = expect.objectContaining({ code: 'UNAUTHENTICATED' });

describe('a JWT', () => {
  it('is accepted when the identity provider signed it for us', async () => {
    const exp = now() + 60;
    await expect(
      verifier.verify(provider.token({ sub: 'ada', exp, email: 'ada@example.com', name: 'Ada' })),
    ).resolves.toMatchObject({
      subject: 'ada',
      name: 'Ada',
      email: 'ada@example.com',
      role: null,
      expiresAtMs: (exp + 30) * 1_000,
    });
  });

  it.each<[string, () => string]>([
    ['has no signature (alg none)', () => provider.tokenWithoutSignature()],
    ['is signed with the public key as a secret (HS256)', () => provider.tokenSignedWithPublicKey()],
    ['is signed by somebody else', () => provider.forgedToken()],
    ['is for another service', () => provider.token({ aud: 'other' })],
    ['is for nobody', () => provider.token({ aud: undefined })],
    ['is of another issuer', () => provider.token({ iss: 'https://evil.test/' })],
    ['has no subject', () => provider.token({ sub: undefined })],
    ['has no expiry', () => provider.token({ exp: undefined })],
    ['expired 31 seconds ago', () => provider.token({ exp: now() - 31 })],
    ['begins in 40 seconds', () => provider.token({ nbf: now() + 40 })],
    ['has a subject with a NUL byte', () => provider.token({ sub: 'a\0b' })],
    ['has a subject with half a surrogate pair', () => provider.token({ sub: 'a\ud800' })],
    ['has a subject of more than 255 characters', () => provider.token({ sub: 'a'.repeat(256) })],
    [
      'was changed after signing',
      () => provider.token().replace(/\.[^.]+\./, `.${Buffer.from('{"sub":"root"}').toString('base64url')}.`),
    ],
    ['is signed with a key that is not published', () => provider.token({}, { kid: 'unknown' })],
    ['is no JWT at all', () => 'a.b.c'],
  ])('is refused when it %s', async (_, token) => {
    await expect(verifier.verify(token())).rejects.toEqual(refused);
  });

  it('is accepted within 30 seconds of skew, after its expiry and before its beginning', async () => {
    await expect(verifier.verify(provider.token({ exp: now() - 25 }))).resolves.toMatchObject({ subject: 'subject' });
    await expect(verifier.verify(provider.token({ nbf: now() + 25 }))).resolves.toMatchObject({ subject: 'subject' });
  });

  it('never passes with an HMAC, even when the configuration lists one', async () => {
    const careless = new JwtVerifier(configOf({ algorithms: ['ES256', 'HS256', 'none'] }));
    await expect(careless.verify(provider.tokenSignedWithPublicKey())).rejects.toEqual(refused);
    await expect(careless.verify(provider.tokenWithoutSignature())).rejects.toEqual(refused);
  });

  it('costs the provider one request, however many tokens and unknown keys come', async () => {
    await Promise.all(Array.from({ length: 5 }, () => verifier.verify(provider.token())));
    for (let i = 0; i < 5; i += 1)
      await expect(verifier.verify(provider.token({}, { kid: `k${i}` }))).rejects.toEqual(refused);
    expect(provider.requests).toBe(1);
  });

  it("is not the caller's fault when the provider's keys cannot be had", async () => {
    provider.status = 500;
    await expect(verifier.verify(provider.token())).rejects.toEqual(
      expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }),
    );
    provider.status = 200;
    await expect(verifier.verify(provider.token())).resolves.toMatchObject({ subject: 'subject' });
  });
});

describe('the role claim', () => {
  const read = (claims: object, roleClaim = 'roles') =>
    readClaims({ sub: 's', exp: 1, ...claims } as JWTPayload, { roleClaim, organizationClaim: null }).role;
  it('gives known roles only, the highest that it names', () => {
    expect(read({ roles: 'ADMIN' })).toBe('ADMIN');
    expect(read({ roles: ['offline_access', 'analyst', 'MEMBER'] })).toBe('ANALYST');
    expect(read({ roles: ['superuser', 7, null] })).toBe('MEMBER');
    expect(read({})).toBe('MEMBER');
  });
  it('gives OPERATOR for exactly that word', () => {
    expect(read({ roles: 'OPERATOR' })).toBe('OPERATOR');
    for (const word of ['operator', 'Operator', 'OPERATORS', ' OPERATOR', 'x OPERATOR'])
      expect(read({ roles: word })).toBe('MEMBER');
  });
  it('is found by a name with dots in it, and inside other claims', () => {
    expect(read({ 'https://example.com/role': 'ADMIN' }, 'https://example.com/role')).toBe('ADMIN');
    expect(read({ realm_access: { roles: ['ANALYST'] } }, 'realm_access.roles')).toBe('ANALYST');
    expect(read({}, '__proto__.roles')).toBe('MEMBER');
  });
});

it('an address that the provider has not verified is not taken', () => {
  expect(
    readClaims(
      { sub: 's', exp: 1, email: 'a@b.c', email_verified: false },
      { roleClaim: null, organizationClaim: null },
    ).email,
  ).toBeNull();
});
