import {
  LOCATION_STARTS,
  lastWord,
  withBelow,
  type CompletedOption,
  type CompletedProgram,
  type CompletedValue,
  type CompletedVerb,
  type ValueSource,
} from './describe-program.js';

/** What follows `-a` for each source; fish itself offers files unless it is told not to. */
const SOURCES: Readonly<Record<ValueSource, string>> = {
  archives: '(__fish_complete_suffix .conda; __fish_complete_suffix .tar.bz2)',
  files: '(__fish_complete_path)',
  folders: '(__fish_complete_directories)',
  locations: '(_conda_ferry_locations)',
};

/** Condition of what stands before a verb. */
const NO_VERB = '_conda_ferry_verb';

/** Writes completion for fish 3 and later. Shape: `complete -c conda-ferry …` lines, to be read with `source`. */
export function formatFishScript({ name, options, verbs }: CompletedProgram): string {
  const lines = [
    `complete -c ${name} -f`,
    ...options.map((option) => formatOption(name, NO_VERB, option)),
    ...verbs.map((verb) => `complete -c ${name} -n ${NO_VERB} -a ${verb.name} -d ${quote(verb.summary)}`),
    ...withBelow(verbs).flatMap((verb) => {
      const condition = quote(`_conda_ferry_verb ${verb.name}`);
      return [
        ...verb.options.map((option) => formatOption(name, condition, option)),
        ...(verb.below.length > 0
          ? formatBelow(name, verb)
          : formatArguments(name, verb.name, verb.arguments)),
      ];
    }),
  ];
  return `# Completion of ${name} for fish: ${name} completion fish | source

# Ways to begin a location, or the folders that it may go on with.
function _conda_ferry_locations
    set -l current (commandline -ct)
    switch $current
        case 'oci-layout:*'
            for folder in (__fish_complete_directories (string replace oci-layout: '' -- $current) '')
                echo oci-layout:$folder
            end
        case './*' '../*' '/*' '~*'
            __fish_complete_directories $current ''
        case '*'
            printf '%s\\n' ${LOCATION_STARTS.join(' ')}
    end
end

# Whether the verb is $argv, which may be two words, or whether there is none yet.
function _conda_ferry_verb
    set -l words (string match -v -- '-*' (commandline -opc))
    # Out of a range that counts down, words would come backwards.
    set -l last (math "max(2, 1 + "(count $argv)")")
    test "$words[2..$last]" = "$argv"
end

# Whether at least $argv[1] words that are no option stand behind the verb; values of options count too.
function _conda_ferry_behind
    set -l words (string match -v -- '-*' (commandline -opc))
    test (math (count $words) - 2) -ge $argv[1]
end

${lines.join('\n')}
`;
}

function formatOption(
  program: string,
  condition: string,
  { long, short, summary, value }: CompletedOption,
): string {
  const flags = `-l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`;
  const takes = value === undefined ? '' : ` -x${formatCandidates(value)}`;
  return `complete -c ${program} -n ${condition} ${flags}${takes} -d ${quote(summary)}`;
}

/** Verbs below a verb, with what they do. */
function formatBelow(program: string, { name, below }: CompletedVerb): string[] {
  const condition = quote(`_conda_ferry_verb ${name}; and not _conda_ferry_behind 1`);
  return below.map(
    (verb) => `complete -c ${program} -n ${condition} -a ${lastWord(verb)} -d ${quote(verb.summary)}`,
  );
}

/** Where all arguments are of one kind that is one line, else one for each place. */
function formatArguments(program: string, verb: string, values: readonly CompletedValue[]): string[] {
  const kinds = values.map(formatCandidates);
  const isSame = kinds.every((kind) => kind === kinds[0]);
  return (isSame ? kinds.slice(0, 1) : kinds).flatMap((candidates, place) => {
    if (candidates === '') return [];
    const seen = `_conda_ferry_verb ${verb}`;
    const here = `; and _conda_ferry_behind ${String(place)}`;
    const next = place === kinds.length - 1 ? '' : `; and not _conda_ferry_behind ${String(place + 1)}`;
    const condition = isSame ? seen : `${seen}${here}${next}`;
    return [`complete -c ${program} -n ${quote(condition)}${candidates}`];
  });
}

function formatCandidates({ words, sources }: CompletedValue): string {
  const candidates = [...words, ...sources.map((source) => SOURCES[source])];
  return candidates.length === 0 ? '' : ` -a ${quote(candidates.join(' '))}`;
}

/** Between single quotes fish knows but these two escapes. */
function quote(text: string): string {
  return `'${text.replace(/[\\']/g, String.raw`\$&`)}'`;
}
