/** What a shell has to know of the command line to complete it, read off the commands themselves: nothing is listed twice. */
import type { Argument, Command, Option } from 'commander';
import { KNOWN_SUBDIRS } from '../../conda/names.js';

/** Where the shell finds what a value may be. */
export type ValueSource = 'archives' | 'files' | 'folders' | 'locations';

/** What an option or an argument takes; without words and sources it is a text that nobody can guess. */
export interface CompletedValue {
  /** As help names it, such as `file`. */
  readonly name: string;
  readonly words: readonly string[];
  readonly sources: readonly ValueSource[];
  readonly isVariadic: boolean;
}

/** An option of a verb. */
export interface CompletedOption {
  /** Such as `--subdir`. */
  readonly long: string;
  /** Such as `-h`. */
  readonly short: string | undefined;
  readonly summary: string;
  /** `undefined` where the option takes none. */
  readonly value: CompletedValue | undefined;
}

/** A verb with all that may follow it. */
export interface CompletedVerb {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  readonly arguments: readonly CompletedValue[];
}

/** A command line as completion sees it. */
export interface CompletedProgram {
  readonly name: string;
  readonly options: readonly CompletedOption[];
  readonly verbs: readonly CompletedVerb[];
}

/** Ways to begin a location; a folder begins with `./`. */
export const LOCATION_STARTS: readonly string[] = ['oci://', 'oci-layout:', 'https://', './'];

/** By the names that values have in help. */
const SOURCES_BY_NAME: Readonly<Record<string, readonly ValueSource[]>> = {
  archive: ['archives'],
  channel: ['locations'],
  destination: ['locations'],
  dir: ['folders'],
  file: ['files'],
  location: ['locations'],
  reference: ['locations'],
  source: ['locations'],
  target: ['archives', 'locations'],
};
const SCHEMAS: readonly string[] = ['v0', 'v1'];
const HELP: CompletedOption = { long: '--help', short: '-h', summary: 'display help', value: undefined };

/** Describes a whole command line, its own `help` included. */
export function describeProgram(program: Command): CompletedProgram {
  const verbs = program.commands.map(describeVerb);
  const help: CompletedVerb = {
    name: 'help',
    summary: 'display help of a verb',
    options: [],
    arguments: [{ name: 'verb', words: verbs.map(({ name }) => name), sources: [], isVariadic: false }],
  };
  return {
    name: program.name(),
    options: [...program.options.map(describeOption), HELP],
    verbs: [...verbs, help],
  };
}

function describeVerb(command: Command): CompletedVerb {
  const verbs = command.commands.map((below) => below.name());
  const below: CompletedValue = { name: 'verb', words: verbs, sources: [], isVariadic: false };
  return {
    name: command.name(),
    summary: command.summary() || command.description(),
    options: [...command.options.filter(({ hidden }) => !hidden).map(describeOption), HELP],
    arguments: [...(verbs.length > 0 ? [below] : []), ...command.registeredArguments.map(describeArgument)],
  };
}

function describeOption(option: Option): CompletedOption {
  const { long, short, description, argChoices, variadic } = option;
  // `--flag <value>`: what help calls it stands in the flags alone.
  const name = /[<[]([^\]>.]+)/.exec(option.flags)?.[1];
  return {
    long: long ?? short ?? '',
    short: long === undefined ? undefined : short,
    summary: description,
    value:
      name === undefined
        ? undefined
        : {
            name,
            words: argChoices ?? wordsOf(name, long ?? ''),
            sources: sourcesOf(name, description),
            isVariadic: variadic,
          },
  };
}

function describeArgument(argument: Argument): CompletedValue {
  const name = argument.name();
  const sources = sourcesOf(name, argument.description);
  // Of `push`, the last of many words is the channel, which cannot be told apart here.
  const isAlsoChannel = name === 'archive' && / the channel$/.test(argument.description);
  return {
    name,
    words: argument.argChoices ?? [],
    sources: isAlsoChannel ? [...sources, 'locations'] : sources,
    isVariadic: argument.variadic,
  };
}

function wordsOf(name: string, long: string): readonly string[] {
  if (long === '--subdir') return KNOWN_SUBDIRS;
  return name === 'id' ? SCHEMAS : [];
}

/** What says of itself that it takes a location besides gets locations too. */
function sourcesOf(name: string, description: string): readonly ValueSource[] {
  const sources = SOURCES_BY_NAME[name] ?? [];
  if (sources.includes('locations') || !/\boci(?:-layout)?:/.test(description)) return sources;
  return [...sources, 'locations'];
}
