import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { AppError } from '../../errors';

/** First byte of every encrypted value: another way of encrypting gets another number. */
const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Secrets at rest: AES-256-GCM with a random nonce, bound to a subject (the user's id), so that a row copied to another
 * user does not open.
 * QueryShape: version, nonce, tag, ciphertext.
 */
export class SecretCipher {
  private readonly key: Buffer;

  /** The key is the base64 of 32 bytes. */
  constructor(secretKey: string) {
    this.key = Buffer.from(secretKey, 'base64');
    if (this.key.length !== 32) throw new Error('the secret key is not the base64 of 32 bytes');
  }

  encrypt(secret: string, subject: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(subject));
    const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), nonce, cipher.getAuthTag(), body]);
  }

  /** Throws INTERNAL_SERVER_ERROR when the value was made with another key or for another subject, or was changed. */
  decrypt(value: Buffer, subject: string): string {
    try {
      if (value[0] !== VERSION) throw new Error(`unknown version ${value[0]}`);
      const decipher = createDecipheriv('aes-256-gcm', this.key, value.subarray(1, 1 + NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(subject));
      decipher.setAuthTag(value.subarray(1 + NONCE_BYTES, 1 + NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(value.subarray(1 + NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString(
        'utf8',
      );
    } catch (error) {
      throw new AppError('INTERNAL_SERVER_ERROR', {
        internal: `a virtual key could not be decrypted: was WEIR_SECRET_KEY changed? (${subject})`,
        cause: error,
      });
    }
  }
}
