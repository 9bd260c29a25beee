import {
  LOCATION_STARTS,
  withBelow,
  type CompletedOption,
  type CompletedProgram,
  type CompletedValue,
} from './describe-program.js';

/**
 * Writes completion for bash; the package bash-completion is not needed. Shape: functions, and in the end
 * `complete -F _conda_ferry conda-ferry`, to be read with `source`.
 */
export function formatBashScript({ name, options, verbs }: CompletedProgram): string {
  const verb: CompletedValue = {
    name: 'verb',
    words: verbs.map((one) => one.name),
    sources: [],
    isVariadic: false,
  };
  const cases = [
    ...withBelow(verbs).map((one) => formatCase(one.name, one.options, one.arguments)),
    formatCase('', options, [verb]),
  ];
  return `# shellcheck shell=bash
# Completion of ${name} for bash: source <(${name} completion bash)

${MACHINERY}
# Says which options verb $1 has, and what its option $2 takes, or its arguments where $2 is empty.
_conda_ferry_describe() {
  options=''
  values=()
  case $1 in
${cases.join('\n')}
  esac
}

complete -F _conda_ferry ${name}
`;
}

function formatCase(
  verb: string,
  options: readonly CompletedOption[],
  values: readonly CompletedValue[],
): string {
  const names = options.flatMap(({ short, long }) => (short === undefined ? [long] : [short, long]));
  const byValue = new Map<string, string[]>();
  for (const { long, value } of options) {
    if (value === undefined) continue;
    const text = formatValue(value);
    byValue.set(text, [...(byValue.get(text) ?? []), long]);
  }
  const ofOptions = [...byValue].map(
    ([text, longs]) => `        ${longs.join(' | ')}) values=('${text}') ;;`,
  );
  const ofArguments = values.length === 0 ? '' : values.map((value) => `'${formatValue(value)}'`).join(' ');
  return [
    `    '${verb}')`,
    `      options='${names.join(' ')}'`,
    '      case $2 in',
    `        '') values=(${ofArguments}) ;;`,
    ...ofOptions,
    '      esac',
    '      ;;',
  ].join('\n');
}

/** Words as they are, all else behind an `@`. */
function formatValue({ words, sources, isVariadic }: CompletedValue): string {
  return [...(isVariadic ? ['@many'] : []), ...words, ...sources.map((source) => `@${source}`)].join(' ');
}

const MACHINERY = `_conda_ferry() {
  local IFS=$' \\t\\n'
  local options values words=() word glue='' i
  # Bash cuts words at ":" and "=", and locations hold these.
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $word && \${#words[@]} -gt 0 && ( -n $glue || $word == [:=]* ) ]]; then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
    glue=''
    if [[ $word == : || $word == = || $word == :: ]]; then glue=1; fi
  done

  local last=$((\${#words[@]} - 1)) verb='' option='' position=0 isOver=''
  for ((i = 0; i < last; i++)); do
    word=\${words[i]}
    if [[ -z $verb ]]; then
      if [[ $word != -* ]]; then verb=$word; fi
    elif [[ $word == -- ]]; then
      isOver=1 option=''
    elif [[ -z $isOver && $word == -* ]]; then
      option=''
      _conda_ferry_describe "$verb" "$word"
      if [[ \${#values[@]} -gt 0 ]]; then option=$word; fi
    elif [[ -z $option ]]; then
      # Some verbs have others below them; every verb has options.
      options=''
      if [[ $position == 0 ]]; then _conda_ferry_describe "$verb $word" ''; fi
      if [[ -n $options ]]; then verb+=" $word"; else position=$((position + 1)); fi
    else
      _conda_ferry_describe "$verb" "$option"
      if [[ \${values[0]} != @many* ]]; then option=''; fi
    fi
  done

  local whole=\${words[last]-} lead='' current
  # Readline replaces what stands behind the last of these.
  local breaks='' kept=''
  if [[ $COMP_WORDBREAKS == *:* ]]; then breaks+=':'; fi
  if [[ $COMP_WORDBREAKS == *=* ]]; then breaks+='='; fi
  if [[ -n $breaks ]]; then kept=\${whole%"\${whole##*["$breaks"]}"}; fi

  COMPREPLY=()
  if [[ -z $isOver && $whole == --*=* ]]; then
    lead=\${whole%%=*}=
    option=\${whole%%=*}
  elif [[ -z $isOver && $whole == -* ]]; then
    _conda_ferry_describe "$verb" ''
    for word in $options; do
      if [[ $word == "$whole"* ]]; then COMPREPLY+=("$word"); fi
    done
    return
  fi
  current=\${whole#"$lead"}
  current=\${current//\\\\/}
  current=\${current#[\\"\\']}
  _conda_ferry_describe "$verb" "$option"
  local value='' count=\${#values[@]}
  if [[ -n $option ]]; then
    value=\${values[0]-}
  elif [[ $position -lt $count ]]; then
    value=\${values[position]}
  elif [[ $count -gt 0 && \${values[count - 1]} == @many* ]]; then
    value=\${values[count - 1]}
  fi
  for word in $value; do
    case $word in
      @many) ;;
      @files) _conda_ferry_paths -f ;;
      @folders) _conda_ferry_paths -d ;;
      @archives)
        _conda_ferry_paths -d
        _conda_ferry_paths -f .conda
        _conda_ferry_paths -f .tar.bz2
        ;;
      @locations) _conda_ferry_locations ;;
      *) if [[ $word == "$current"* ]]; then COMPREPLY+=("$lead$word"); fi ;;
    esac
  done
  for i in "\${!COMPREPLY[@]}"; do COMPREPLY[i]=\${COMPREPLY[i]#"$kept"}; done
}

# Adds the files or folders ($1: -f, -d) that begin as the word does, those that end in $2 alone.
_conda_ferry_paths() {
  local path start='' isWhole=''
  if [[ $current == oci-layout:* ]]; then start=oci-layout:; fi
  if [[ $lead$start == "$kept" ]]; then isWhole=1; fi
  while IFS= read -r path; do
    if [[ $path != *"\${2-}" ]]; then continue; fi
    if [[ -z $isWhole ]]; then printf -v path %q "$path"; fi
    COMPREPLY+=("$lead$start$path")
  done < <(compgen "$1" -- "\${current#"$start"}")
  # Readline quotes spaces, and puts a slash behind folders, where it knows that these are files.
  if [[ -n $isWhole ]]; then
    compopt -o filenames 2>/dev/null || true
  else
    compopt -o nospace 2>/dev/null || true
  fi
}

# Adds ways to begin a location, or the folders that it may go on with.
_conda_ferry_locations() {
  local start
  case $current in
    oci-layout:* | ./* | ../* | /* | '~'*) _conda_ferry_paths -d ;;
    *)
      for start in ${LOCATION_STARTS.join(' ')}; do
        if [[ $start == "$current"* ]]; then
          COMPREPLY+=("$lead$start")
          compopt -o nospace 2>/dev/null || true
        fi
      done
      ;;
  esac
}
`;
