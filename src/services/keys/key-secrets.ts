import { createHash, randomBytes } from 'node:crypto';
import { SecretCipher } from './cipher';
import type { KeyRow } from './key.store';

/** Makes the users' secrets, and opens those that are stored. */
export class KeySecrets {
  private readonly cipher: SecretCipher;

  /** Base64 of 32 bytes. */
  constructor(secretKey: string) {
    this.cipher = new SecretCipher(secretKey);
  }

  make(userId: string): { encrypted: Buffer; hint: string } {
    const secret = `sk-weir-${randomBytes(32).toString('base64url')}`;
    return { encrypted: this.cipher.encrypt(secret, userId), hint: secret.slice(-4) };
  }

  /** Throws INTERNAL_SERVER_ERROR. */
  read({ secret, userId }: KeyRow): string {
    return this.cipher.decrypt(secret, userId);
  }

  /** null: it was encrypted with another WEIR_SECRET_KEY. */
  open(row: KeyRow): string | null {
    try {
      return this.read(row);
    } catch {
      return null;
    }
  }
}

/** As the proxy names keys. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');
