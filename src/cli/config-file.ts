import type { Command, Option } from 'commander';
import { FerryError, isFerryError } from '../errors.js';
import { readTextFile } from './text-file.js';

/** Adds `--config`, and has it read before the command runs. */
export function addConfigOption(command: Command): Command {
  return command
    .optionsGroup('Options:')
    .option('--config <file>', 'YAML file with what the flags say; flags count more')
    .hook('preAction', async (_, action) => {
      const file: unknown = action.getOptionValue('config');
      if (typeof file === 'string') applyConfig(action, await readConfig(file), file);
    });
}

/**
 * Sets a command's options from a document such as `{ subdir: [noarch, linux-64], 'max-size': 1GB }`: keys are the long
 * flags without their dashes, and `plain-json: false` stands for `--no-plain-json`. What the command line says stays.
 * @throws FerryError `USAGE` for a key that is no option, or a value that the option does not take
 */
function applyConfig(command: Command, config: Readonly<Record<string, unknown>>, file: string): void {
  for (const [key, value] of Object.entries(config)) {
    const option = command.options.find(({ long }) => long === `--${key}` || long === `--no-${key}`);
    if (option === undefined || key === 'config') {
      throw new FerryError('USAGE', `\`${key}\` in \`${file}\` is no option of \`${wordsOf(command)}\``, {
        hint: `\`conda-ferry ${wordsOf(command)} --help\` names them; write them without dashes in front`,
      });
    }
    const name = option.attributeName();
    const source = command.getOptionValueSource(name);
    if (source !== undefined && source !== 'default') continue;
    command.setOptionValueWithSource(name, parseValue(option, value, `\`${key}\` in \`${file}\``), 'config');
  }
}

async function readConfig(file: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readTextFile(file);
  // Loaded here, since most runs have no such file.
  const { parse } = await import('yaml');
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new FerryError('USAGE', `\`${file}\` is no YAML`, { cause });
  }
  if (document === null) return {};
  if (typeof document !== 'object' || Array.isArray(document))
    throw new FerryError('USAGE', `\`${file}\` holds no keys with values`);
  return document as Readonly<Record<string, unknown>>;
}

function parseValue(option: Option, value: unknown, what: string): unknown {
  const takesValue = option.required || option.optional;
  if (!takesValue) {
    if (typeof value !== 'boolean') throw new FerryError('USAGE', `${what} is true or false`);
    return value;
  }
  const texts = (Array.isArray(value) ? value : [value]).map((item: unknown) => {
    if (typeof item === 'string') return item;
    if (typeof item === 'number') return String(item);
    if (item instanceof Date) return item.toISOString();
    throw new FerryError('USAGE', `${what} is no text, number or list of these`);
  });
  try {
    const { parseArg } = option;
    let result: unknown = option.variadic ? texts : texts[0];
    if (parseArg !== undefined) {
      result = undefined;
      for (const text of texts) result = parseArg(text, result);
    }
    if (texts.length !== 1 && !Array.isArray(result))
      throw new FerryError('USAGE', `${what} takes one value`);
    return result;
  } catch (cause) {
    if (isFerryError(cause)) throw cause;
    throw new FerryError('USAGE', `${what}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** The words that call a command, such as `queue status`. */
export function wordsOf(command: Command): string {
  const { parent } = command;
  if (parent === null) return '';
  return [wordsOf(parent), command.name()].filter((word) => word !== '').join(' ');
}
