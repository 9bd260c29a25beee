import { Argument, type Command } from 'commander';
import { formatBashScript } from '../completion/bash-script.js';
import { describeProgram, type CompletedProgram } from '../completion/describe-program.js';
import { formatFishScript } from '../completion/fish-script.js';
import { formatZshScript } from '../completion/zsh-script.js';
import type { CommandContext } from '../context.js';

type Shell = 'bash' | 'zsh' | 'fish';

const SCRIPTS: Readonly<Record<Shell, (program: CompletedProgram) => string>> = {
  bash: formatBashScript,
  zsh: formatZshScript,
  fish: formatFishScript,
};

/** Adds `completion`. */
export function addCompletionCommand(program: Command, { output }: CommandContext): void {
  program
    .command('completion')
    .summary('print what a shell needs to complete the command line')
    .description('Prints a script that teaches a shell to complete verbs, options, files and locations.')
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      `
Examples:
  conda-ferry completion bash \\
    > ~/.local/share/bash-completion/completions/conda-ferry
  conda-ferry completion zsh > ~/.zfunc/_conda_ferry    # a folder of fpath
  conda-ferry completion fish > ~/.config/fish/completions/conda-ferry.fish

For this session alone:
  source <(conda-ferry completion bash)                 # or zsh
  conda-ferry completion fish | source`,
    )
    .action((shell: Shell) => {
      output.stdout.write(SCRIPTS[shell](describeProgram(program)));
    });
}
