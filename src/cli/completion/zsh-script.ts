import {
  LOCATION_STARTS,
  lastWord,
  type CompletedOption,
  type CompletedProgram,
  type CompletedValue,
  type CompletedVerb,
  type ValueSource,
} from './describe-program.js';

const SOURCES: Readonly<Record<ValueSource, string>> = {
  archives: '_conda_ferry_archives',
  files: '_files',
  folders: '_files -/',
  locations: '_conda_ferry_locations',
};

/**
 * Writes completion for zsh. Shape: a function `_conda_ferry`, which serves both as a file of that name in a folder of
 * `fpath` and when it is read with `source`.
 */
export function formatZshScript({ name, options, verbs }: CompletedProgram): string {
  return `#compdef ${name}
# Completion of ${name} for zsh: source <(${name} completion zsh)

_conda_ferry() {
  local curcontext=$curcontext state line
  local -A opt_args
  _arguments -C \\
${specs([...options.map(formatOption), quote('1: :_conda_ferry_verbs'), quote('*:: :->rest')], '    ')} && return
  [[ $state == rest ]] || return 1
  curcontext="\${curcontext%:*}-$line[1]:"
  case $line[1] in
${verbs.map(formatVerb).join('\n')}
  esac
}

_conda_ferry_verbs() {
  local -a verbs=(
${verbs.map(({ name: verb, summary }) => `    ${quote(`${verb}:${summary.replaceAll(':', String.raw`\:`)}`)}`).join('\n')}
  )
  _describe verb verbs
}

_conda_ferry_archives() {
  _files -g '*.(conda|tar.bz2)(-.)'
}

# Ways to begin a location, or the folders that it may go on with.
_conda_ferry_locations() {
  local -a starts=(${LOCATION_STARTS.join(' ')})
  if compset -P 'oci-layout:' || [[ $PREFIX == (.|..|)/* || $PREFIX == \\~* ]]; then
    _files -/
  else
    compadd -S '' -a starts
  fi
}

_conda_ferry_archives_or_locations() {
  _alternative archives:archive:_conda_ferry_archives locations:location:_conda_ferry_locations
}

if [[ $funcstack[1] == _conda_ferry ]]; then
  _conda_ferry "$@"
else
  compdef _conda_ferry ${name}
fi
`;
}

function formatVerb(verb: CompletedVerb): string {
  const { options, arguments: values, below } = verb;
  if (below.length > 0) return formatGroup(verb);
  return formatBranch(lastWord(verb), [...options.map(formatOption), ...values.map(formatArgument)]);
}

function formatBranch(word: string, all: readonly string[]): string {
  return `    ${word})
      _arguments -S \\
${specs(all, '        ')}
      ;;`;
}

/** As the whole command line, one word further on. */
function formatGroup(verb: CompletedVerb): string {
  const { options, below } = verb;
  const words = below.map((one) => `${lastWord(one)}\\:${quoteDescription(one.summary)}`).join(' ');
  const first = [...options.map(formatOption), quote(`1:verb:((${words}))`), quote('*:: :->below')];
  return `    ${lastWord(verb)})
      state=''
      _arguments -C \\
${specs(first, '        ')} && return
      [[ $state == below ]] || return 1
      curcontext="\${curcontext%:*}-$line[1]:"
      case $line[1] in
${below.map((one) => formatVerb(one).replace(/^/gm, '    ')).join('\n')}
      esac
      ;;`;
}

/** Inside of `((…))`, where words are set apart by blanks. */
function quoteDescription(text: string): string {
  return `"${text.replace(/["\\$`]/g, '').replaceAll(':', '')}"`;
}

function specs(all: readonly string[], indent: string): string {
  return all.map((spec) => `${indent}${spec}`).join(' \\\n');
}

/** `--opt=` takes its value in the next word or behind the sign; a variadic one all words up to the next option. */
function formatOption({ long, short, summary, value }: CompletedOption): string {
  const about = `[${escape(summary, /[\\[\]]/g)}]`;
  if (value === undefined) {
    const names = short === undefined ? long : `{${short},${long}}`;
    return short === undefined ? quote(`${long}${about}`) : `'(${short} ${long})'${names}${quote(about)}`;
  }
  const action = formatAction(value);
  if (value.isVariadic) return quote(`*${long}${about}:*-*:${value.name}:${action}`);
  return quote(`*${long}=${about}:${value.name}:${action}`);
}

function formatArgument(value: CompletedValue): string {
  return quote(`${value.isVariadic ? '*' : ''}:${value.name}:${formatAction(value)}`);
}

function formatAction({ words, sources }: CompletedValue): string {
  if (words.length > 0) return `(${words.join(' ')})`;
  if (sources.length > 1) return '_conda_ferry_archives_or_locations';
  const [source] = sources;
  // Without anything to offer, zsh shows what is wanted.
  return source === undefined ? ' ' : SOURCES[source];
}

function escape(text: string, special: RegExp): string {
  return text.replace(special, String.raw`\$&`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
