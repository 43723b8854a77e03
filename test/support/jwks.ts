import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

// The form of signatures in JWTs: both numbers, one after the other.
const signature = (text: string, key: KeyObject): string =>
  sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');

/** An identity provider: publishes its keys over HTTP and signs what a test asks for, honest or not. */
export class TestIdentityProvider {
  readonly issuer = 'https://login.test/';
  readonly audience = 'weir';
  requests = 0;
  /** Status of the answer with the keys. */
  status = 200;
  private readonly pairs: { kid: string; privateKey: KeyObject; publicKey: KeyObject }[] = [];
  private constructor(
    private readonly server: http.Server,
    readonly url: string,
  ) {}

  static async start(): Promise<TestIdentityProvider> {
    const server = http.createServer((_request, response) => provider.answer(response));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const provider: TestIdentityProvider = new TestIdentityProvider(
      server,
      `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`,
    );
    provider.rotate('first');
    return provider;
  }

  /** Makes a new key pair and publishes its public half; the ones before stay published. */
  rotate(kid: string): void {
    this.pairs.push({ kid, ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) });
  }

  /** An honest token: valid for five minutes unless the claims say otherwise. */
  token(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
    const { kid, privateKey } = this.pairs.at(-1)!;
    const text = this.unsigned(claims, { alg: 'ES256', kid, ...header });
    return `${text}.${signature(text, privateKey)}`;
  }

  /** alg "none", without a signature. */
  tokenWithoutSignature(claims: Record<string, unknown> = {}): string {
    return `${this.unsigned(claims, { alg: 'none' })}.`;
  }

  /** HS256 with the published public key as the secret. */
  tokenSignedWithPublicKey(claims: Record<string, unknown> = {}): string {
    const { kid, publicKey } = this.pairs.at(-1)!;
    const text = this.unsigned(claims, { alg: 'HS256', kid });
    return `${text}.${createHmac('sha256', publicKey.export({ type: 'spki', format: 'pem' }))
      .update(text)
      .digest('base64url')}`;
  }

  /** Signed with a key of somebody else under our key's name. */
  forgedToken(claims: Record<string, unknown> = {}): string {
    const text = this.unsigned(claims, { alg: 'ES256', kid: this.pairs.at(-1)!.kid });
    return `${text}.${signature(text, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private unsigned(claims: Record<string, unknown>, header: Record<string, unknown>): string {
    const now = Math.floor(Date.now() / 1_000);
    return `${encode({ typ: 'JWT', ...header })}.${encode({ iss: this.issuer, aud: this.audience, sub: 'subject', iat: now, exp: now + 300, ...claims })}`;
  }

  private answer(response: http.ServerResponse): void {
    this.requests += 1;
    const keys = this.pairs.map(({ kid, publicKey }) => ({
      ...publicKey.export({ format: 'jwk' }),
      kid,
      alg: 'ES256',
      use: 'sig',
    }));
    response.writeHead(this.status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }));
  }
}
