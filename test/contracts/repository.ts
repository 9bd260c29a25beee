import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe } from 'vitest';
import type { Registry } from '#ferry/oci/storage.js';
import { describeBlobs } from './blob-contract.js';
import { describeCopies } from './copy-contract.js';
import { describeManifests } from './manifest-contract.js';
import { describeReferrers } from './referrer-contract.js';
import type { RepositoryCapabilities, Subject } from './subject.js';
import { describeTags } from './tag-contract.js';

/** What a suite is run on. */
export interface ContractSubject {
  readonly registry: Registry;
  readonly capabilities: RepositoryCapabilities;
}

/** Tests what every implementation of `Registry` and `Repository` must do. The registry is disposed of at the end. */
export function describeRepositoryContract(name: string, makeRegistry: () => Promise<ContractSubject>): void {
  describe(`repository contract: ${name}`, () => {
    let made: ContractSubject | undefined;
    let count = 0;
    // The registry may outlive the run.
    const run = randomBytes(4).toString('hex');

    const get = (): ContractSubject => {
      if (made === undefined) throw new Error('the registry is not there yet');
      return made;
    };
    const newName = (): string => {
      count += 1;
      return `${get().capabilities.namePrefix ?? ''}contract-${run}/repository-${String(count)}`;
    };
    const subject: Subject = {
      get registry() {
        return get().registry;
      },
      get capabilities() {
        return get().capabilities;
      },
      newName,
      newRepository: () => get().registry.repository(newName()),
    };

    beforeAll(async () => {
      made = await makeRegistry();
    });
    afterAll(async () => {
      await made?.registry[Symbol.asyncDispose]();
    });

    describeBlobs(subject);
    describeManifests(subject);
    describeTags(subject);
    describeReferrers(subject);
    describeCopies(subject);
  });
}
