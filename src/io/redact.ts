/** Everything that could hold a secret passes here before it reaches a message, a log or a file. */

// Only these query keys are known to be harmless; all other values are masked (signed URLs, `_state`, tokens).
const HARMLESS_QUERY_KEYS = new Set(['digest', 'mount', 'from', 'n', 'last', 'scope', 'service', 'artifactType']);

/** Masks userinfo, `/t/<token>/` and query values of a URL for display. Text that is no URL is returned as `[url]`. */
export function redactUrl(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return '[url]';
  }
  if (parsed.username !== '') parsed.username = '***';
  if (parsed.password !== '') parsed.password = '***';
  parsed.pathname = parsed.pathname.replace(/^\/t\/[^/]+/, '/t/***');
  for (const key of [...parsed.searchParams.keys()]) {
    if (!HARMLESS_QUERY_KEYS.has(key)) parsed.searchParams.set(key, '***');
  }
  parsed.hash = '';
  return parsed.href;
}
