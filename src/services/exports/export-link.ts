import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { ScopedFilter } from '../usage/usage-scope';

/** Where files of calls are fetched, below the address of the server. */
export const EXPORT_PATH = '/exports';

/** Everything that a file is made of. The link itself carries it: nothing is stored, and every replica can answer. */
export interface ExportLink {
  organizationId: string;
  userId: string;
  /** The API token that the link was asked for with; null for a JWT. */
  tokenId: string | null;
  /** Cut to what the user could see then. */
  filter: ScopedFilter;
  asOf: Date;
  /**
   * Of the organisations, users and projects that may be named in the file, as one sum: another one makes other bytes.
   */
  names: string;
  madeAt: Date;
}

const KEY_BYTES = 32;
/** The first character of every token: another layout gets another one. */
const VERSION = '1';
/** Characters. Servers and proxies take 8 KB for the whole first line of a request. */
const MAX_TOKEN = 6_000;
const DATES = new Set(['from', 'to', 'asOf', 'madeAt']);

/**
 * Signs and reads links. A token is version, content (deflated JSON) and HMAC-SHA256 of both; everybody may read it,
 * and nobody but us can make one.
 */
export class ExportLinks {
  private readonly key: Buffer;
  private readonly tagKey: Buffer;

  /** `secretKey`: the base64 of 32 bytes. What is used here is derived from it, and says nothing about it. */
  constructor(secretKey: string) {
    const derived = (purpose: string): Buffer =>
      Buffer.from(hkdfSync('sha256', Buffer.from(secretKey, 'base64'), '', purpose, KEY_BYTES));
    this.key = derived('weir export link');
    this.tagKey = derived('weir export tag');
  }

  /** null where it would be too long for an address. */
  tokenOf(link: ExportLink): string | null {
    const body = VERSION + deflateRawSync(JSON.stringify(link)).toString('base64url');
    const token = `${body}.${this.signatureOf(body)}`;
    return token.length > MAX_TOKEN ? null : token;
  }

  /** null for whatever we have not made. */
  read(token: string): ExportLink | null {
    if (token.length > MAX_TOKEN) return null;
    const dot = token.lastIndexOf('.');
    const body = token.slice(0, dot);
    // As text: the last letter of the bytes could be written in several ways.
    const given = Buffer.from(token.slice(dot + 1));
    const right = Buffer.from(this.signatureOf(body));
    if (dot < 1 || given.length !== right.length || !timingSafeEqual(given, right) || body[0] !== VERSION) return null;
    // Signed by us, so that it is neither broken nor a bomb.
    const json = inflateRawSync(Buffer.from(body.slice(1), 'base64url')).toString('utf8');
    return JSON.parse(json, (key, value) =>
      DATES.has(key) && typeof value === 'string' ? new Date(value) : value,
    ) as ExportLink;
  }

  /** The entity tag of the file: only who has begun a download knows it, since the link does not tell. */
  tagOf(token: string): string {
    return `"${this.mac(this.tagKey, token).subarray(0, 16).toString('base64url')}"`;
  }

  private signatureOf(body: string): string {
    return this.mac(this.key, body).toString('base64url');
  }

  private mac(key: Buffer, text: string): Buffer {
    return createHmac('sha256', key).update(text).digest();
  }
}
