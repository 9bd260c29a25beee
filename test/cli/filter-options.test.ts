import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addFilterOptions, readFilters, type FilterFlags } from '#ferry/cli/filter-options.js';
import { describeFilters, filtersDigestInput, type Filters } from '#ferry/mirror/filters/filters.js';

const SHA256 = 'a'.repeat(64);
const files: Record<string, string> = {
  'wanted.txt': '# what we use\nnumpy\n\nscipy=1 # for now\n',
  'empty.txt': '# nothing yet\n',
  'bad.txt': 'numpy\n\n=\n',
  'secret.txt': 'mkl\n',
  'a.lock': `@EXPLICIT\nhttps://conda.example.org/ch/noarch/a-1-0.conda#sha256:${SHA256}\n`,
  'b.lock': `version: 6\npackages:\n- conda: https://conda.example.org/ch/noarch/b-1-0.conda\n  sha256: ${SHA256}\n`,
  'pypi.lock': 'version: 6\npackages:\n- pypi: https://files.example.org/a.whl\n',
};

async function readFile(path: string): Promise<string> {
  const text = files[path];
  if (text === undefined) throw new Error(`ENOENT: ${path}`);
  return text;
}

async function parse(
  ...args: string[]
): Promise<{ readonly args: readonly string[]; readonly filters: Filters }> {
  const command = addFilterOptions(new Command().argument('[places...]').exitOverride());
  command.configureOutput({ writeErr: () => undefined });
  command.parse(args, { from: 'user' });
  return { args: command.args, filters: await readFilters(command.opts<FilterFlags>(), readFile) };
}

describe('flags of filters', () => {
  test('may be given again, and arguments may follow them', async () => {
    const { args, filters } = await parse(
      ...['--include', 'numpy', '--include', 'scipy=1', '--exclude', 'pandas', './from', './to'],
      ...['--latest', '2', '--latest-per-variant', '--since', '2024-05-01', '--max-size', '1GiB'],
      ...[
        '--min-age',
        '7d',
        '--min-age-exempt',
        'own',
        '--with-dependencies',
        '--undistributable',
        'secret.txt',
      ],
    );
    expect(args).toEqual(['./from', './to']);
    expect(filtersDigestInput(filters)).toEqual({
      exclude: ['pandas'],
      include: ['numpy', 'scipy=1'],
      undistributable: ['mkl'],
      latest: { count: 2, per_variant: true },
      since: Date.parse('2024-05-01'),
      min_age: 604_800_000,
      min_age_exempt: ['own'],
      max_size: 2 ** 30,
      with_dependencies: true,
    });
  });

  test('without any, everything is taken', async () => {
    expect(filtersDigestInput((await parse()).filters)).toEqual({});
  });

  test('files of match specs count as flags do', async () => {
    const { filters } = await parse(
      '--include-from',
      'wanted.txt',
      '--include',
      'pandas',
      '--exclude-from',
      'empty.txt',
    );
    expect(describeFilters(filters)).toEqual(['only pandas, numpy, scipy=1']);
  });

  test('lock files are united', async () => {
    const { filters } = await parse('--lock', 'a.lock', '--lock', 'b.lock', '--lock', 'pypi.lock');
    expect(filtersDigestInput(filters)).toEqual({
      lock: [`noarch/a-1-0.conda#sha256:${SHA256}`, `noarch/b-1-0.conda#sha256:${SHA256}`],
    });
    expect(filters.lock?.ignored).toEqual({ pypi: 1, elsewhere: 0 });
  });

  test.each([
    [['--include-from', 'gone.txt'], 'USAGE', '`gone.txt` cannot be read'],
    [['--lock', 'gone.lock'], 'USAGE', '`--lock`'],
    [['--include-from', 'empty.txt'], 'USAGE', '`--include-from`'],
    [['--exclude-from', 'bad.txt'], 'USAGE', '`bad.txt`, line 3'],
    [['--lock', 'wanted.txt'], 'LOCK_FILE_INVALID', '`wanted.txt`'],
    [['--lock', 'pypi.lock'], 'USAGE', '`--lock`'],
    [['--latest', '-1'], 'USAGE', '`--latest`'],
    [['--latest-per-variant'], 'USAGE', '`--latest-per-variant`'],
  ])('%j is refused', async (args, code, says) => {
    const error: unknown = await parse(...args).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringContaining(says) as string });
  });
});
