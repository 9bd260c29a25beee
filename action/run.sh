#!/usr/bin/env bash
# Runs conda-ferry as the action's inputs say. These come as environment variables and are only ever whole words of the
# command line, behind `=` or behind `--`.
set -euo pipefail

words=()
# Appends the lines of a text, without what stands around them.
read_lines() {
  local line
  words=()
  while IFS= read -r line || [[ -n $line ]]; do
    line=${line%$'\r'}
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    if [[ -n $line ]]; then words+=("$line"); fi
  done <<<"$1"
}

fail() {
  echo "::error::$1"
  exit 2
}

case $FERRY_COMMAND in
  push | mirror) ;;
  *) fail 'command is push or mirror' ;;
esac

if [[ -z $FERRY_CHANNEL ]]; then fail 'channel is missing'; fi
report=$(mktemp "$RUNNER_TEMP/conda-ferry-report-XXXXXX")
flags=()
if [[ -n $FERRY_SCHEMA ]]; then flags+=("--schema=$FERRY_SCHEMA"); fi
if [[ -n $FERRY_LABEL ]]; then flags+=("--label=$FERRY_LABEL"); fi
read_lines "$FERRY_ARGS"
flags+=(${words[@]+"${words[@]}"})

if [[ $FERRY_COMMAND == push ]]; then
  if [[ -n $FERRY_SOURCE_REPO ]]; then flags+=("--source-repo=$FERRY_SOURCE_REPO"); fi
  read_lines "$FERRY_ARCHIVES"
  if [[ ${#words[@]} -eq 0 ]]; then fail 'archives is empty: there is nothing to push'; fi
  archives=("${words[@]}")
elif [[ -z $FERRY_SOURCE ]]; then
  fail 'source is missing: mirror needs one'
fi

# Names of archives get into the log: until the end, no line of it is a command to the runner.
silence=$(node -p 'require("node:crypto").randomBytes(16).toString("hex")')
echo "::stop-commands::$silence"
trap 'echo "::$silence::"' EXIT

status=0
if [[ $FERRY_COMMAND == push ]]; then
  conda-ferry push --json ${flags[@]+"${flags[@]}"} -- "${archives[@]}" "$FERRY_CHANNEL" >"$report" || status=$?
else
  # It writes the summary of the job itself.
  conda-ferry mirror "--report=$report" ${flags[@]+"${flags[@]}"} -- "$FERRY_SOURCE" "$FERRY_CHANNEL" || status=$?
fi

node "$GITHUB_ACTION_PATH/action/summary.mjs" "$FERRY_COMMAND" "$report"
exit "$status"
