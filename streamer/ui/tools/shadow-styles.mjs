// media-chrome and custom-media-element fill their shadow roots with markup that has <style> elements in it, which a
// Content-Security-Policy without 'unsafe-inline' refuses. This esbuild plugin sends those assignments through src/shadow.js, which makes
// constructable stylesheets of them. It counts what it changes: a new release with another spelling fails the build, not the page.
import { readFile } from 'node:fs/promises';
import path from 'node:path';

const HELPER = path.resolve('src/shadow.js');
const LIBRARIES = /node_modules\/(media-chrome|custom-media-element)\/dist\/.*\.js$/;
const FEATURED = /this\.shadowRoot\.setHTMLUnsafe \? this\.shadowRoot\.setHTMLUnsafe\(html\) : this\.shadowRoot\.innerHTML = html;/g;
const PLAIN = /this\.shadowRoot\.innerHTML = (this\.constructor\.getTemplateHTML\(attrs\));/g;
const SHEETS = /styleParent\.querySelectorAll\("style:not\(\[media\]\)"\)/g;

export function shadowStyles() {
  return {
    name: 'shadow-styles',
    setup(build) {
      let changed = 0;
      build.onLoad({ filter: LIBRARIES }, async ({ path: file }) => {
        const source = await readFile(file, 'utf8');
        const contents = source
          .replace(FEATURED, 'fillShadow(this.shadowRoot, html);')
          .replace(PLAIN, 'fillShadow(this.shadowRoot, $1);')
          .replace(SHEETS, 'shadowSheets(styleParent)');
        if (/shadowRoot\.innerHTML = /.test(contents)) throw new Error(`unknown way to fill a shadow root in ${file}`);
        if (contents === source) return { contents, loader: 'js' };
        changed += 1;
        return { contents: `import { fillShadow, shadowSheets } from ${JSON.stringify(HELPER)};\n${contents}`, loader: 'js' };
      });
      build.onEnd(() => {
        if (changed < 10) throw new Error(`only ${changed} shadow roots were rewritten: the libraries have changed`);
      });
    },
  };
}
