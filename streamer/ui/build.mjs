// Builds static/ from src/ and templates: `npm ci && npm run build`. Output names carry a hash of their content; manifest.json maps
// plain names to them. static/ is committed, so that running the product needs no Node.
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import path from 'node:path';
import esbuild from 'esbuild';
import { shadowStyles } from './tools/shadow-styles.mjs';
import { thirdParty } from './tools/third-party.mjs';

const OUT = 'static';
const SCRIPTS = ['theme', 'app', 'player', 'tus'];
const manifest = {};

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT);
const bundle = await scripts();
await worker();
await styles();
await picture('favicon.svg');
await writeFile(path.join(OUT, 'THIRD-PARTY.txt'), await thirdParty(bundle.metafile));
await writeFile(path.join(OUT, 'manifest.json'), JSON.stringify(sorted(manifest), null, 2) + '\n');
for (const name of await readdir(OUT)) console.log(name, (await readFile(path.join(OUT, name))).length);

async function scripts() {
  const result = await esbuild.build({
    entryPoints: SCRIPTS.map((name) => `src/${name}.js`),
    bundle: true,
    minify: true,
    format: 'iife', // one file a page asks for, no import waterfall
    target: ['es2022', 'chrome111', 'safari16.4', 'firefox114'],
    legalComments: 'none', // they stand in THIRD-PARTY.txt
    outdir: OUT,
    metafile: true,
    write: false,
    plugins: [shadowStyles()],
  });
  for (const file of result.outputFiles) await emit(path.basename(file.path), file.contents);
  return result;
}

async function worker() {
  const source = await readFile('node_modules/hls.js/dist/hls.worker.js', 'utf8');
  const { code } = await esbuild.transform(source, { minify: true, legalComments: 'none' });
  await emit('hls.worker.js', code);
}

async function styles() {
  const made = path.join(OUT, 'app.css');
  await promisify(execFile)('node_modules/.bin/tailwindcss', ['-i', 'src/app.css', '-o', made, '--minify']);
  const css = await readFile(made);
  await rm(made);
  await emit('app.css', css);
}

async function picture(name) {
  await emit(name, await readFile(`src/${name}`));
}

async function emit(name, contents) {
  const hash = createHash('sha256').update(contents).digest('hex').slice(0, 10);
  const { name: stem, ext } = path.parse(name);
  manifest[name] = `${stem}-${hash}${ext}`;
  await writeFile(path.join(OUT, manifest[name]), contents);
}

function sorted(object) {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
}
