// Shadow roots without <style> elements (see tools/shadow-styles.mjs): their rules become constructable stylesheets, which a strict
// style-src lets through because script, not markup, brought them.

// A declarative shadow root inside the markup is for servers that render; here the element inside makes its own.
const DECLARED = /<template shadowrootmode[^>]*>[\s\S]*?<\/template>/g;
const STYLE = /<style([^>]*)>([\s\S]*?)<\/style>/g;
const ownSheets = new WeakMap();

/** Fill a shadow root with markup, its <style> elements as adopted sheets in the same order. */
export function fillShadow(root, html) {
  const sheets = [];
  root.innerHTML = html.replace(DECLARED, '').replace(STYLE, (_, attributes, css) => take(sheets, attributes, css));
  root.adoptedStyleSheets = sheets;
  ownSheets.set(root, sheets);
  root.querySelectorAll('template[data-sheet]').forEach((stand) => follow(stand, sheets[stand.dataset.sheet]));
}

/** What the libraries expect of `querySelectorAll('style:not([media])')`: things with a `sheet` to insert rules into. */
export function shadowSheets(root) {
  return (ownSheets.get(root) ?? []).filter((sheet) => sheet.media.length === 0).map((sheet) => ({ sheet }));
}

function take(sheets, attributes, css) {
  const media = attributes.match(/media="([^"]*)"/)?.[1] ?? '';
  const sheet = new CSSStyleSheet({ media });
  sheet.replaceSync(css);
  sheets.push(sheet);
  const id = attributes.match(/id="([^"]*)"/)?.[1];
  return id ? `<template id="${id}" data-sheet="${sheets.length - 1}" media="${media}"></template>` : '';
}

// A library switches a style element by its media attribute; the element standing in for it passes that on.
function follow(stand, sheet) {
  const apply = () => { sheet.media.mediaText = stand.getAttribute('media') ?? ''; };
  new MutationObserver(apply).observe(stand, { attributeFilter: ['media'] });
}
