import { randomBytes } from 'node:crypto';
import { SecretCipher } from '../../../src/services/keys/cipher';

const key = randomBytes(32).toString('base64');
const cipher = new SecretCipher(key);

describe('a secret at rest', () => {
  it('comes back as it was', () =>
    expect(cipher.decrypt(cipher.encrypt('sk-weir-ü', 'usr_1'), 'usr_1')).toBe('sk-weir-ü'));
  it('does not show in what is stored, which is new each time', () => {
    const [a, b] = [cipher.encrypt('sk-weir-secret', 'usr_1'), cipher.encrypt('sk-weir-secret', 'usr_1')];
    expect(a.includes('sk-weir')).toBe(false);
    expect(a.equals(b)).toBe(false);
  });
  it('does not open for another user', () =>
    expect(() => cipher.decrypt(cipher.encrypt('s', 'usr_1'), 'usr_2')).toThrow(
      expect.objectContaining({ code: 'INTERNAL_SERVER_ERROR' }),
    ));
  it('does not open with another key', () =>
    expect(() => new SecretCipher(randomBytes(32).toString('base64')).decrypt(cipher.encrypt('s', 'u'), 'u')).toThrow(
      expect.objectContaining({ code: 'INTERNAL_SERVER_ERROR' }),
    ));
  it('does not open when any byte of it was changed', () => {
    const stored = cipher.encrypt('secret', 'u');
    for (let index = 0; index < stored.length; index += 1) {
      const changed = Buffer.from(stored);
      changed[index]! ^= 1;
      expect(() => cipher.decrypt(changed, 'u')).toThrow();
    }
    expect(() => cipher.decrypt(stored.subarray(0, 10), 'u')).toThrow(
      expect.objectContaining({ code: 'INTERNAL_SERVER_ERROR' }),
    );
  });
  it('needs a key of 32 bytes', () =>
    expect(() => new SecretCipher(Buffer.alloc(16).toString('base64'))).toThrow('32 bytes'));
});
