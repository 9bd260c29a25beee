#!/usr/bin/env bash
# Installs conda-ferry into a folder of the job's own, and puts that on the PATH of later steps.
set -euo pipefail

version=$FERRY_VERSION
if [[ -z $version ]]; then
  version=$(node -p 'require(process.argv[1]).version' "$GITHUB_ACTION_PATH/package.json")
fi

if [[ $version == checkout ]]; then
  cd "$GITHUB_ACTION_PATH"
  node scripts/setup.mjs --build
  package=$RUNNER_TEMP/$(npm pack --silent --pack-destination "$RUNNER_TEMP")
else
  # npm takes more than versions there: aliases, folders, addresses.
  if [[ ! $version =~ ^[0-9A-Za-z.^~+-]+$ ]]; then
    echo "::error::version is neither a version nor a tag of npm"
    exit 2
  fi
  package=conda-ferry@$version
fi

prefix=$RUNNER_TEMP/conda-ferry
mkdir -p "$prefix/lib"
# zstd-napi has an install script, which npm may be told not to run.
npm install --global --allow-scripts=zstd-napi,msgpackr-extract --no-audit --no-fund --prefix "$prefix" "$package"
# Programs are in the first on Linux and macOS, in the second on Windows.
printf '%s\n' "$prefix/bin" "$prefix" >>"$GITHUB_PATH"
