// Typed lint, and the layering of the architecture: imports go downwards only (docs/architecture.md).
import tseslint from 'typescript-eslint';
import tsdoc from 'eslint-plugin-tsdoc';

/** Each layer with the layers it may import from, itself apart. */
const LAYERS = {
  core: [],
  store: ['core'],
  xmpp: ['core'],
  jet: ['xmpp', 'store', 'core'],
  jingle: ['xmpp', 'store', 'core'],
  files: ['jet', 'jingle', 'xmpp', 'store', 'core'],
  omemo: ['jet', 'jingle', 'xmpp', 'store', 'core'],
  transport: ['jet', 'jingle', 'xmpp', 'store', 'core'],
  transfer: ['files', 'omemo', 'transport', 'jingle', 'jet', 'xmpp', 'store', 'core'],
  app: ['transfer', 'files', 'omemo', 'transport', 'jingle', 'jet', 'xmpp', 'store', 'core'],
};
const ALL = [...Object.keys(LAYERS), 'cli'];

const layering = Object.entries(LAYERS).map(([layer, below]) => ({
  files: [`src/${layer}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^(\\.\\./)+(?:${ALL.filter((l) => l !== layer && !below.includes(l)).join('|')})/`,
            message: `src/${layer} may import only from: ${below.join(', ') || 'nothing'}.`,
          },
          { regex: '^(\\.\\./)+app\\.ts$', message: 'Only src/cli imports src/app.ts.' },
        ],
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    plugins: { tsdoc },
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: new URL('../..', import.meta.url).pathname,
      },
    },
    rules: {
      'tsdoc/syntax': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      eqeqeq: 'error',
    },
  },
  ...layering,
);
