import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type BrowserContext } from 'playwright-core';

/** Debian's. */
const PROGRAM = '/usr/bin/chromium';

/** It is to do nothing but what a test asks for. */
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** How a browser shows pages. */
export interface BrowserLook {
  readonly colorScheme: 'light' | 'dark';
  /** In CSS pixels. */
  readonly width: number;
  /** @defaultValue 1 */
  readonly zoom?: number;
}

/** A browser with nothing in it, in a folder of its own that goes away with it. */
export async function openBrowser({
  colorScheme,
  width,
  zoom = 1,
}: BrowserLook): Promise<AsyncDisposable & { readonly context: BrowserContext }> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-browser-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: PROGRAM,
    args: ARGUMENTS,
    colorScheme,
    viewport: { width: Math.floor(width / zoom), height: Math.floor(900 / zoom) },
    deviceScaleFactor: zoom,
  });
  return {
    context,
    [Symbol.asyncDispose]: async () => {
      await context.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
