import { redactText } from '../io/redact.js';
import type { Send } from './send.js';

const MAX_CHARACTERS = 4096;
/** Texts in all: a server that says something new each time is not listened to for ever. */
const MAX_TEXTS = 100;

/**
 * Passes on what servers say in `Warning: 299 - "…"`, once per host and text. Never acted upon.
 * @see distribution-spec v1.1.1, "Warnings"
 */
export function withWarnings(send: Send, onWarning: ((text: string) => void) | undefined): Send {
  if (onWarning === undefined) return send;
  const told = new Set<string>();
  return async (request) => {
    const response = await send(request);
    const header = response.header('warning');
    if (header === undefined || told.size >= MAX_TEXTS) return response;
    for (const [, text = ''] of header.slice(0, MAX_CHARACTERS).matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)) {
      const line = `${response.url.host} says: ${redactText(text.replace(/\\(.)/g, '$1'))}`;
      if (!told.has(line)) onWarning(line);
      told.add(line);
    }
    return response;
  };
}
