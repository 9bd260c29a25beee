import { redactText } from '../../io/redact.js';

const MAX_CHARACTERS = 300;

/**
 * Makes text of a file or program fit for a message: one line, nothing invisible, no secrets of URLs, none of
 * `secrets`, at most 300 characters.
 */
export function printable(text: string, secrets: readonly string[] = []): string {
  let masked = text;
  // A program that echoes its input writes it as JSON, where some characters are escaped.
  for (const secret of secrets.flatMap((value) => [value, JSON.stringify(value).slice(1, -1)])) {
    if (secret !== '') masked = masked.replaceAll(secret, '***');
  }
  // Colours of a terminal, before their escape character goes.
  const line = redactText(masked.replace(/\u001b\[[0-9;]*[A-Za-z]/g, ''))
    .replaceAll('`', "'")
    .trim();
  return line.length > MAX_CHARACTERS ? `${line.slice(0, MAX_CHARACTERS - 1)}…` : line;
}

/** Makes a key of a credential file fit for a message, such as `ghcr.io/org`; what stands before an `@` is masked. */
export function printableKey(key: string): string {
  return printable(key.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/]*@/i, '$1***@'));
}
