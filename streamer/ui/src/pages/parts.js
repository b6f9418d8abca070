// Small behaviours used on many pages.

const THEMES = ['auto', 'light', 'dark'];

/** The theme button turns auto, light, dark and back. */
export function theme() {
  return {
    now: document.documentElement.dataset.theme ?? 'auto',
    get isAuto() { return this.now === 'auto'; },
    get isLight() { return this.now === 'light'; },
    get isDark() { return this.now === 'dark'; },
    get label() { return `Theme: ${this.isAuto ? 'as the system' : this.now}`; },
    turn() {
      this.now = THEMES[(THEMES.indexOf(this.now) + 1) % THEMES.length];
      if (this.isAuto) delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = this.now;
      try {
        localStorage.setItem('theme', this.now);
      } catch {
        // Forbidden storage: the choice lasts as long as the page.
      }
    },
  };
}

export function say(text) {
  window.dispatchEvent(new CustomEvent('toast', { detail: text }));
}

export function toasts() {
  let last = 0;
  return {
    list: [],
    show(text) {
      last += 1;
      const id = last;
      this.list.push({ id, text });
      setTimeout(() => { this.list = this.list.filter((toast) => toast.id !== id); }, 4000);
    },
  };
}

/** Copies the element's data-copy; says so, or selects nothing and says it failed. */
export function copier() {
  return {
    async copy() {
      try {
        await navigator.clipboard.writeText(this.$root.dataset.copy);
        say('Copied');
      } catch {
        say('Your browser refused to copy. Select the text and copy it yourself.');
      }
    },
  };
}

/** What small screens keep behind a button, which says whether it is open: the main tabs, filters, an index. Without a script all of it is shown. */
export function fold() {
  return {
    isOpen: false,
    init() { this.isOpen = 'startsOpen' in this.$root.dataset; },
    turn() { this.isOpen = !this.isOpen; },
    close() {
      if (!this.isOpen) return;
      this.isOpen = false;
      this.$refs.button.focus();
    },
  };
}

/** Hides what has not all the words that were typed: the `data-words` below it, and each `data-part` in which nothing is left. */
export function sieve() {
  return {
    sift() {
      const words = this.$refs.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...this.$root.querySelectorAll('[data-words]')];
      for (const row of rows) row.hidden = !words.every((word) => row.dataset.words.includes(word));
      for (const part of this.$root.querySelectorAll('[data-part]')) part.hidden = !part.querySelector('[data-words]:not([hidden])');
      const left = rows.filter((row) => !row.hidden).length;
      this.$refs.told.textContent = `${left || 'No'} operation${left === 1 ? '' : 's'}${words.length ? ' with these words' : ''}.`;
    },
  };
}

/** x-percent on a <progress>: how far it is, or that nobody knows yet (x-bind:value would say 0 for that). */
export function percent(bar, { expression }, { evaluateLater, effect }) {
  const read = evaluateLater(expression);
  effect(() => read((value) => {
    if (value > 0) bar.value = value;
    else bar.removeAttribute('value');
  }));
}
