import type { ServerResponse } from 'node:http';
import type { Wire } from './provider-script';

/** One server-sent event with this JSON text (or [DONE]), in the form that the wire asks for. */
export function sseEvent(data: string, wire: Wire): Buffer {
  const end = wire.lineEnd ?? '\n';
  const lines = wire.multiLine && data.startsWith('{') ? JSON.stringify(JSON.parse(data), null, 1).split('\n') : [data];
  const prefix = wire.noSpace ? 'data:' : 'data: ';
  const comment = wire.comments ? `: keep-alive${end}${end}` : '';
  return Buffer.from(comment + lines.map((line) => prefix + line + end).join('') + end);
}

/** Writes all of it and waits until the socket wants more; false when the reader has gone. */
export async function writeBytes(response: ServerResponse, bytes: Buffer, size: number | undefined): Promise<boolean> {
  if (!size) return writeOnce(response, bytes);
  for (let at = 0; at < bytes.length; at += size) {
    if (!(await writeOnce(response, bytes.subarray(at, at + size)))) return false;
    // A turn of the loop between writes, so that they travel apart.
    await new Promise(setImmediate);
  }
  return true;
}

function writeOnce(response: ServerResponse, bytes: Buffer): Promise<boolean> {
  if (response.destroyed || response.socket?.destroyed) return Promise.resolve(false);
  if (response.write(bytes)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const settle = (open: boolean) => (): void => {
      response.off('drain', onDrain).off('close', onClose);
      resolve(open);
    };
    const onDrain = settle(true);
    const onClose = settle(false);
    response.once('drain', onDrain).once('close', onClose);
  });
}
