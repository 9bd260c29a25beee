import { FerryError } from '../errors.js';

/** The error for a tag, such as `org/noarch/repodata.json:latest`, that names what neither we put there nor knew of. */
export function tagMoved(repository: string, tag: string, cause?: unknown): FerryError {
  return new FerryError('TAG_MOVED', `\`${repository}:${tag}\` was written by somebody else`, {
    cause,
    hint: 'run the command again: it goes on from what is there now',
  });
}
