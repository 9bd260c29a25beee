import { spawnSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runFerry } from '../support/ferry-here.js';
import { testEnvironment } from '../support/ferry.js';
import { tempFolder } from '../support/temp.js';

type Shell = 'bash' | 'zsh' | 'fish';

/** What all shells have to find; `there` are among the candidates, `absent` are not. */
const CASES: readonly { line: string; there: readonly string[]; absent?: readonly string[] }[] = [
  { line: 'conda-ferry mi', there: ['mirror', 'migrate'], absent: ['list'] },
  { line: 'conda-ferry --ver', there: ['--version'] },
  { line: 'conda-ferry help pro', there: ['probe'], absent: ['mirror'] },
  { line: 'conda-ferry mirror --con', there: ['--concurrency', '--config'], absent: ['--subdir'] },
  { line: 'conda-ferry list --w', there: ['--wide'] },
  { line: 'conda-ferry list mirror --w', there: ['--wide'], absent: ['--with-dependencies'] },
  { line: 'conda-ferry mirror --schema ', there: ['v0', 'v1'] },
  { line: 'conda-ferry migrate a b --to v', there: ['v0', 'v1'] },
  { line: 'conda-ferry list --subdir linux-6', there: ['linux-64'], absent: ['noarch'] },
  { line: 'conda-ferry queue ', there: ['status', 'retry-failed'], absent: ['mirror', 'queue'] },
  { line: 'conda-ferry queue re', there: ['resume', 'retry-failed'], absent: ['status'] },
  { line: 'conda-ferry queue drain --ti', there: ['--timeout'], absent: ['--listen'] },
  { line: 'conda-ferry queue ui --al', there: ['--allow-remote'], absent: ['--timeout'] },
  { line: 'conda-ferry queue status --queue-ca-file mir', there: ['mirror.yml'] },
  { line: 'conda-ferry queue status re', there: [], absent: ['resume'] },
  { line: 'conda-ferry worker --conc', there: ['--concurrency'] },
  { line: 'conda-ferry completion ', there: ['bash', 'zsh', 'fish'] },
  { line: 'conda-ferry mirror o', there: ['oci://', 'oci-layout:'] },
  { line: 'conda-ferry mirror oci://127.0.0.1:5000/ch o', there: ['oci://', 'oci-layout:'] },
  { line: 'conda-ferry check o', there: ['oci://', 'oci-layout:'] },
  { line: 'conda-ferry mirror ./mir', there: ['mirrors'], absent: ['mirror.yml'] },
  { line: 'conda-ferry mirror oci-layout:./mir', there: ['mirrors'], absent: ['mirror.yml'] },
  { line: 'conda-ferry mirror --config mir', there: ['mirror.yml'] },
  { line: 'conda-ferry push are-1-0.conda o', there: ['oci://', 'oci-layout:'] },
  { line: 'conda-ferry push ar', there: ['are-1-0.conda', 'ark-1-0.tar.bz2'] },
  { line: 'conda-ferry pack a', there: ['a folder', 'are-1-0.conda'], absent: ['mirrors'] },
  { line: 'conda-ferry pack ar', there: ['are-1-0.conda', 'ark-1-0.tar.bz2'] },
];

/** A folder with something to complete, and the script in it. */
async function scene(shell: Shell): Promise<{ folder: string; script: string }> {
  const folder = await tempFolder();
  await mkdir(join(folder, 'mirrors'));
  await mkdir(join(folder, 'a folder'));
  for (const file of ['mirror.yml', 'are-1-0.conda', 'ark-1-0.tar.bz2', 'a folder/b c.conda'])
    await writeFile(join(folder, file), '');
  const { code, stdout } = await runFerry(['completion', shell]);
  expect(code).toBe(0);
  const script = join(folder, `.conda-ferry.${shell}`);
  await writeFile(script, stdout);
  return { folder, script };
}

function run(shell: Shell, folder: string, args: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(shell, args, {
    cwd: folder,
    env: testEnvironment(folder),
    encoding: 'utf8',
    timeout: 50_000,
  });
  if (error !== undefined) throw error;
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/** Candidates of each line, without what stood before the last path separator or colon: shells differ there. */
type Candidates = (
  scene: { folder: string; script: string },
  lines: readonly string[],
) => Promise<readonly (readonly string[])[]>;

/** Calls the function as readline does, which cuts words at these two. */
const inBash: Candidates = ({ folder, script }, lines) => {
  const calls = lines.map((line) => {
    const words = line
      .split(' ')
      .flatMap((word) => (word === '' ? [''] : (word.match(/[:=]+|[^:=]+/g) ?? [])))
      .map((word) => `'${word}'`);
    return `COMP_WORDS=(${words.join(' ')}) COMP_CWORD=${words.length - 1}
COMPREPLY=(); _conda_ferry; printf '%s\\n' "\${COMPREPLY[@]}" '---'`;
  });
  const program = `set -u; source ${script}\n${calls.join('\n')}\n`;
  return Promise.resolve(split(run('bash', folder, ['--norc', '-c', program])));
};

const inFish: Candidates = ({ folder, script }, lines) => {
  const calls = lines.map((line) => `complete -C '${line}'; echo ---`);
  const output = run('fish', folder, ['--no-config', '-c', `source ${script}\n${calls.join('\n')}`]);
  return Promise.resolve(split(output.replaceAll(/\t.*$/gm, '')));
};

/** Types into a zsh on a terminal of its own, and notes what is handed to `compadd`. */
const inZsh: Candidates = async ({ folder, script }, lines) => {
  const output = join(folder, 'candidates');
  const rc = `
PS1=''
autoload -Uz compinit && compinit -u -D
source ${script}
compadd() {
  local -a there
  builtin compadd -A there "$@"
  # With these it only tells, and adds nothing.
  [[ $1 == -[OAD] ]] || print -rl -- $there >>${output}
  builtin compadd "$@"
}
look() { zle complete-word; BUFFER=''; print -r -- --- >>${output}; }
zle -N look
bindkey '^I' look
: >${output}
`;
  await writeFile(join(folder, 'rc'), rc);
  const driver = `
zmodload zsh/zpty zsh/zselect
zpty z zsh -f -i
zpty -w z 'source ${join(folder, 'rc')}'
wait_for() {
  local -i round
  for ((round = 0; round < 500; round++)); do
    [[ -f ${output} ]] && (( $(grep -c -- '^---$' ${output}) >= $1 )) && return
    zselect -t 2
  done
}
wait_for 0
${lines.map((line, i) => `zpty -n -w z '${line}'$'\\t'; wait_for ${i + 1}`).join('\n')}
zpty -d z
`;
  await writeFile(join(folder, 'driver'), driver);
  run('zsh', folder, ['-f', join(folder, 'driver')]);
  return split(await readFile(output, 'utf8'));
};

function split(output: string): string[][] {
  const blocks = output.split(/^---\n/m).slice(0, -1);
  return blocks.map((block) =>
    block
      .split('\n')
      .filter((line) => line !== '')
      // zsh hands over what is to stand in the line, quoted.
      .map((line) => line.replaceAll('\\ ', ' '))
      .map((line) => /^(?!.*:(?:\/\/)?$).*?([^/:]+)\/?$/.exec(line)?.[1] ?? line),
  );
}

function isThere(shell: Shell): boolean {
  return spawnSync(shell, ['--version'], { stdio: 'ignore' }).error === undefined;
}

const shells: readonly { shell: Shell; candidates: Candidates }[] = [
  { shell: 'bash', candidates: inBash },
  { shell: 'zsh', candidates: inZsh },
  { shell: 'fish', candidates: inFish },
];

describe.each(shells)('completion for $shell', ({ shell, candidates }) => {
  test.skipIf(!isThere(shell))('finds verbs, flags, choices, files and locations', async () => {
    const found = await candidates(
      await scene(shell),
      CASES.map(({ line }) => line),
    );
    expect(found).toHaveLength(CASES.length);
    for (const [i, { line, there, absent = [] }] of CASES.entries()) {
      expect(found[i], line).toEqual(expect.arrayContaining([...there]));
      for (const word of absent) expect(found[i], line).not.toContain(word);
    }
  });
});

test('an unknown shell is refused with the ones there are', async () => {
  const { code, stderr } = await runFerry(['completion', 'tcsh']);
  expect(code).toBe(2);
  expect(stderr).toContain('bash, zsh, fish');
});
