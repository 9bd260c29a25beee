/** Everything that could hold a secret passes here before it reaches a message, a log or a file. */

// Only these query keys are known to be harmless; all other values are masked (signed URLs, `_state`, tokens).
const HARMLESS_QUERY_KEYS = new Set([
  'digest',
  'mount',
  'from',
  'n',
  'last',
  'scope',
  'service',
  'artifactType',
]);

/**
 * Makes text of somebody else fit for terminals and logs: one line, nothing invisible, no secrets of URLs. How long it may
 * be is the caller's to say.
 */
export function redactText(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'`<>]+/gi, redactUrl);
}

/**
 * Masks userinfo, `/t/<token>/` and query values of a URL for display. Text that is no URL with a host or a path is
 * returned as `[url]`.
 */
export function redactUrl(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return '[url]';
  }
  // `user:password@host` without a scheme reads as a URL of the scheme `user`.
  if (parsed.host === '' && parsed.protocol !== 'file:') return '[url]';
  if (parsed.username !== '') parsed.username = '***';
  if (parsed.password !== '') parsed.password = '***';
  // Anywhere in the path, as conda itself looks for it.
  parsed.pathname = parsed.pathname.replace(/\/t\/[^/]+/g, '/t/***');
  for (const [key, value] of [...parsed.searchParams]) {
    if (HARMLESS_QUERY_KEYS.has(key)) continue;
    if (value !== '') parsed.searchParams.set(key, '***');
    else {
      // Without a value the key itself may be the secret.
      parsed.searchParams.delete(key);
      parsed.searchParams.set('***', '');
    }
  }
  parsed.hash = '';
  return parsed.href;
}
