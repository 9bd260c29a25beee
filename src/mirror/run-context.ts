import type { TempFolder } from '../io/temp-folder.js';
import type { MirrorReporter } from './report.js';
import type { PrepareOptions } from './subdir-work.js';

/** What a run has at hand. */
export interface RunContext extends PrepareOptions {
  readonly temp: TempFolder;
  readonly reporter: MirrorReporter;
  readonly now: () => Date;
}
