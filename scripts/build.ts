/** Bundles the entry points: `dist/slmd.js` (command line and daemon), `dist/engine.js` and its thread `dist/grammar.js`. */

import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const grammarPackage = '@mlc-ai/web-xgrammar';

/** Builds and returns the paths in `node_modules` of the packages that went into the bundle. */
export async function buildAll(outdir = join(root, 'dist'), version = packageVersion()): Promise<string[]> {
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  const { metafile } = await build({
    entryPoints: {
      slmd: join(root, 'src/main.ts'),
      engine: join(root, 'src/engine/main.ts'),
      grammar: join(root, 'src/grammar/worker.ts'),
    },
    outdir,
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Native code stays a package of its own; everything else is in the bundle.
    external: ['onnxruntime-node', 'koffi'],
    define: { 'process.env.SLMD_VERSION': JSON.stringify(version) },
    // Bundled CommonJS packages call require(), which an ES module has to be given.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    // Comments and white space would stay in the memory of each process that loads the bundle, and comments that are not
    // in ASCII would double all of it. Names and lines are kept: a stack says where it was.
    minifyWhitespace: true,
    lineLimit: 110,
    legalComments: 'linked',
    logLevel: 'warning',
    metafile: true,
  });
  // It holds its WebAssembly in itself, and is read as a file; see src/grammar/xgrammar.ts.
  copyFileSync(join(root, 'node_modules', grammarPackage, 'lib/index.js'), join(outdir, 'xgrammar.cjs'));
  writeFileSync(join(outdir, 'package.json'), '{ "type": "module" }\n');
  chmodSync(join(outdir, 'slmd.js'), 0o755);
  return bundledPackages([...Object.keys(metafile.inputs), `node_modules/${grammarPackage}/`]);
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

function bundledPackages(inputs: string[]): string[] {
  const packages = inputs.flatMap(
    (path) => /^node_modules\/((?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
  );
  return [...new Set(packages)].sort();
}

if (import.meta.main) await buildAll();
