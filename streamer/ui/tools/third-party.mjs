// THIRD-PARTY.txt: every package whose code is in a built file, its licence and the full licence text.
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';

// In the style sheet (Tailwind's base styles, Preline's variants), so no script's metafile names them.
const STYLES = ['tailwindcss', 'preline'];
const WORKER = ['hls.js'];
// Bundled inside the published files of the packages above.
const INSIDE = `Preline's dropdown contains @floating-ui/dom (MIT, Copyright (c) 2021-present Floating UI contributors).
Alpine's build contains @vue/reactivity (MIT, Copyright (c) 2018-present, Yuxi (Evan) You and Vue contributors).
hls.js's build contains eventemitter3 (MIT, Copyright (c) 2014 Arnout Kazemier) and url-toolkit (Apache-2.0, Copyright (c) 2016 Tom Jenkinson),
and parts of vtt.js (Apache-2.0, Copyright 2013 vtt.js Contributors) and mux.js (Apache-2.0, Copyright Brightcove).`;

export async function thirdParty(metafile) {
  const inputs = Object.keys(metafile.inputs).map((file) => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]);
  const names = [...new Set([...inputs.filter(Boolean), ...STYLES, ...WORKER])].sort();
  const parts = [
    'Streamer\'s pages are built with the packages below; thanks to their authors.\n' +
      'The interface is built on Preline UI by Preline Labs Ltd. (https://preline.co, https://github.com/htmlstreamofficial/preline).',
    INSIDE,
  ];
  for (const name of names) parts.push(await entry(name));
  return parts.join(`\n\n${'-'.repeat(100)}\n\n`) + '\n';
}

async function entry(name) {
  const folder = path.join('node_modules', name);
  const facts = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
  const home = facts.homepage ?? facts.repository?.url ?? facts.repository ?? '';
  return `${name} ${facts.version} (${facts.license})\n${home}\n\n${(await text(folder, facts)).trim()}`;
}

async function text(folder, facts) {
  const file = (await readdir(folder)).find((name) => /^licen[sc]e/i.test(name));
  if (file) return readFile(path.join(folder, file), 'utf8');
  const author = facts.author?.name ?? facts.author ?? 'the authors';
  return MIT.replace('{author}', author);
}

const MIT = `MIT License

Copyright (c) {author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
