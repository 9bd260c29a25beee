/** Names of devices on Windows, whatever follows a dot behind them. */
const DEVICE_PATTERN = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\.|$)/i;

/** Characters that Windows takes for something else than a part of the name. */
const FORBIDDEN_PATTERN = /[<>:"|?*\\\u0000-\u001f]/;

/**
 * Why Windows would take one component of a path for something else than a file of that name in its folder; `undefined` for
 * what is safe there too.
 */
export function windowsFault(component: string): string | undefined {
  if (DEVICE_PATTERN.test(component)) return 'Windows has a device of that name';
  if (FORBIDDEN_PATTERN.test(component)) return 'it has a character that is no part of a name on Windows';
  // They fall away, so that two names become one.
  return /[. ]$/.test(component) ? 'on Windows a name cannot end in a dot or a space' : undefined;
}
