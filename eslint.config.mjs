import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { importTable } from './test/architecture/import-table.mjs';

const folders = Object.keys(importTable);

/** Folders inside a folder of `src`, at most. */
const DEPTHS = [0, 1, 2, 3];

/**
 * What each folder must not import, a block for each depth: only from there is it plain whether `../channel/` is the folder of
 * `src`, or one of the same name inside this folder.
 * @type {import('typescript-eslint').ConfigArray}
 */
const importRules = folders.flatMap((folder) => {
  const allowed = new Set([folder, 'io', ...(importTable[folder] ?? [])]);
  const forbidden = folders.filter((other) => !allowed.has(other)).join('|');
  if (forbidden === '') return [];
  return DEPTHS.map((depth) => ({
    files: [`src/${folder}/${'*/'.repeat(depth)}*.ts`],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(?:(?:\\./)?(?:\\.\\./){${depth + 1}}|#ferry/)(?:${forbidden})/`,
              message: 'The import table (test/architecture/import-table.mjs) does not allow it.',
            },
          ],
        },
      ],
    },
  }));
});

export default defineConfig(
  { ignores: ['dist', 'coverage', 'node_modules', 'fixtures/channel', 'fixtures/malformed'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['eslint.config.mjs'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/prefer-readonly': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      'no-console': 'error',
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
      eqeqeq: 'error',
    },
  },
  ...importRules,
  {
    // The worker's library wants its task as the default export.
    files: ['src/artifact/worker.ts', '*.config.mjs', 'vitest.config.ts'],
    rules: { 'no-restricted-exports': 'off' },
  },
  {
    files: ['src/cli/**/*.ts', 'scripts/**', 'bench/**', 'fixtures/**', 'test/**'],
    rules: { 'no-console': 'off' },
  },
  {
    // Scripts read JSON of their own making.
    files: ['**/*.mjs'],
    rules: {
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
    },
  },
  {
    files: ['fixtures/build/bzip2*'],
    rules: { 'no-restricted-exports': 'off', '@typescript-eslint/triple-slash-reference': 'off' },
  },
  {
    files: ['**/*.mjs', 'test/**/*.ts'],
    rules: {
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
);
