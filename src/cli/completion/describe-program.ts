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
  /** The words that call it, such as `mirror` or `queue status`. */
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletedOption[];
  readonly arguments: readonly CompletedValue[];
  /** Verbs that this one only gathers. */
  readonly below: readonly CompletedVerb[];
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
  const verbs = program.commands.map((command) => describeVerb(command));
  const help: CompletedVerb = {
    name: 'help',
    summary: 'display help of a verb',
    options: [],
    arguments: [verbValue(verbs)],
    below: [],
  };
  return {
    name: program.name(),
    options: [...program.options.map(describeOption), HELP],
    verbs: [...verbs, help],
  };
}

/** Verbs with those below them. */
export function withBelow(verbs: readonly CompletedVerb[]): readonly CompletedVerb[] {
  return verbs.flatMap((verb) => [verb, ...withBelow(verb.below)]);
}

/** The last word of a verb, such as `status` of `queue status`. */
export function lastWord({ name }: Pick<CompletedVerb, 'name'>): string {
  return name.slice(name.lastIndexOf(' ') + 1);
}

function describeVerb(command: Command, above = ''): CompletedVerb {
  const name = `${above}${command.name()}`;
  const below = command.commands.map((one) => describeVerb(one, `${name} `));
  return {
    name,
    summary: command.summary() || command.description(),
    options: [...command.options.filter(({ hidden }) => !hidden).map(describeOption), HELP],
    arguments: [
      ...(below.length > 0 ? [verbValue(below)] : []),
      ...command.registeredArguments.map(describeArgument),
    ],
    below,
  };
}

function verbValue(verbs: readonly CompletedVerb[]): CompletedValue {
  return { name: 'verb', words: verbs.map(lastWord), sources: [], isVariadic: false };
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
