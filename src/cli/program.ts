import { Command } from 'commander';
import { addCheckCommand } from './commands/check.js';
import { addCompletionCommand } from './commands/completion.js';
import { addIndexCommand } from './commands/index-channel.js';
import { addInspectCommand } from './commands/inspect.js';
import { addListCommand } from './commands/list.js';
import { addLoginCommand } from './commands/login.js';
import { addLogoutCommand } from './commands/logout.js';
import { addMigrateCommand } from './commands/migrate.js';
import { addMirrorCommand } from './commands/mirror.js';
import { addPackCommand } from './commands/pack.js';
import { addProbeCommand } from './commands/probe.js';
import { addPruneCommand } from './commands/prune.js';
import { addPullCommand } from './commands/pull.js';
import { addPushCommand } from './commands/push.js';
import { addQueueCommand } from './commands/queue.js';
import { addServeCommand } from './commands/serve.js';
import { addConfigOption, wordsOf } from './config-file.js';
import { addVerifyCommand } from './commands/verify.js';
import { addWorkerCommand } from './commands/worker.js';
import { addYankCommand } from './commands/yank.js';
import type { CommandContext } from './context.js';
import { VERSION } from './version.js';

/** Makes the command line; it throws instead of exiting. */
export function createProgram(context: CommandContext): Command {
  const { output } = context;
  const program = new Command('conda-ferry')
    .description('Carries conda packages between conda channels and OCI registries.')
    .version(VERSION)
    .exitOverride()
    // Without `[options]`, which all of them have, the list fits into a terminal of 80 columns.
    .configureHelp({ subcommandTerm: (command) => [command.name(), ...argumentsOf(command)].join(' ') })
    .configureOutput({
      writeOut: (text) => output.stdout.write(text),
      writeErr: (text) => output.stderr.write(text),
      outputError: (text, write) => {
        write(text.startsWith('error: ') ? text.replace(/\.?\n/, ' [USAGE]\n') : text);
      },
    })
    .showHelpAfterError('(see conda-ferry --help)');
  addPushCommand(program, context);
  addYankCommand(program, context);
  addMirrorCommand(program, context);
  addMigrateCommand(program, context);
  addIndexCommand(program, context);
  addPruneCommand(program, context);
  addListCommand(program, context);
  addInspectCommand(program, context);
  addPullCommand(program, context);
  addServeCommand(program, context);
  addPackCommand(program, context);
  addCheckCommand(program, context);
  addVerifyCommand(program, context);
  addLoginCommand(program, context);
  addLogoutCommand(program, context);
  addProbeCommand(program, context);
  addWorkerCommand(program, context);
  addQueueCommand(program, context);
  for (const command of allBelow(program)) {
    // What only gathers others has nothing that a file of flags could hold.
    if (command.commands.length === 0) addConfigOption(command);
    command.showHelpAfterError(`(see conda-ferry ${wordsOf(command)} --help)`);
  }
  // It has nothing that a file of flags could hold.
  addCompletionCommand(program, context);
  return program;
}

function allBelow(command: Command): Command[] {
  return command.commands.flatMap((below) => [below, ...allBelow(below)]);
}

function argumentsOf({ registeredArguments }: Command): string[] {
  return registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
}
