import serverless from '@sparticuz/chromium';
import { chromium, type Browser } from 'playwright-core';

/** Chromium, which finds nothing but this machine. */
export const launchBrowser = async (): Promise<Browser> =>
  chromium.launch({
    executablePath: await serverless.executablePath(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });

/**
 * Four hundred pieces: scripts in both directions, characters of several units, and signs that belong to the piece
 * before.
 */
export const PIECES = Array.from(
  { length: 400 },
  (_, index) =>
    ['Wasser ', 'naïve ', 'e\u0301', '東京', ' 👩‍👩‍👧', '\u200d🔬 ', 'שלום ', '🇯🇵', ' <b>&amp;', '\n  '][index % 10] +
    (index % 7 ? '' : `${index} `),
);
export const upTo = (count: number): string => PIECES.slice(0, count).join('');
