// The library: cards kept up to date in place. It asks again only while something on it is being prepared.
import { call } from '../api.js';
import { Watcher } from '../watcher.js';
import { ago, clock, isWorking, progressWords, sizeName, stateWords, tone } from '../words.js';

const PAGE = 24;
const TYPING_PAUSE = 250;

export function library() {
  let watcher;
  let typing = 0;
  let asked = 0;
  return {
    cards: [],
    cursor: null,
    query: '',
    loaded: false,
    problem: '',

    init() {
      watcher = new Watcher(() => this.refresh());
      this.refresh().then((more) => { if (more) watcher.wake(); });
    },

    get isEmpty() { return this.loaded && !this.cards.length && !this.query && !this.problem; },
    get isUnmatched() { return this.loaded && !this.cards.length && Boolean(this.query); },
    get isLoading() { return !this.loaded && !this.problem; },
    get hasMore() { return Boolean(this.cursor); },
    get count() { return this.cards.length ? `${this.cards.length}${this.cursor ? '+' : ''}` : ''; },

    search() {
      clearTimeout(typing);
      typing = setTimeout(() => this.refresh().then((more) => { if (more) watcher.wake(); }), TYPING_PAUSE);
    },

    clear() {
      this.query = '';
      this.search();
    },

    /** One round over everything shown; resolves to whether to ask again. */
    async refresh() {
      asked += 1;
      const round = asked;
      try {
        const shown = Math.max(PAGE, Math.ceil(this.cards.length / PAGE) * PAGE);
        const { data, next_cursor: next } = await call('GET', `/api/v1/assets?${this.parameters(Math.min(shown, 100))}`);
        if (round !== asked) return false; // a later question was asked meanwhile
        this.take(data, next);
        this.problem = '';
      } catch (error) {
        this.problem = error.message;
        if (error.status === 401) { location.assign('/admin/sign-in'); return false; }
        return true;
      }
      return this.cards.some((card) => card.working);
    },

    take(data, next) {
      const known = new Map(this.cards.map((card) => [card.id, card]));
      const fresh = data.map((asset) => Object.assign(known.get(asset.id) ?? {}, face(asset)));
      const below = this.cards.length > data.length && this.cards.length > 100 ? this.cards.slice(data.length) : [];
      this.cards = [...fresh, ...below];
      if (!below.length) this.cursor = next;
      this.loaded = true;
    },

    async more() {
      try {
        const { data, next_cursor: next } = await call('GET', `/api/v1/assets?${this.parameters(PAGE)}&cursor=${encodeURIComponent(this.cursor)}`);
        this.cards = [...this.cards, ...data.map(face)];
        this.cursor = next;
        if (this.cards.some((card) => card.working)) watcher.wake();
      } catch (error) {
        this.problem = error.message;
      }
    },

    parameters(limit) {
      const parameters = new URLSearchParams({ limit });
      if (this.query.trim()) parameters.set('q', this.query.trim());
      return parameters;
    },
  };
}

/** What a card shows, as plain values: Alpine's CSP build only looks things up. */
function face(asset) {
  const working = isWorking(asset);
  return {
    id: asset.id,
    title: asset.title,
    href: `/admin/assets/${asset.id}`,
    poster: asset.poster_url,
    hasPoster: Boolean(asset.poster_url),
    working,
    failed: asset.processing === 'errored',
    percent: asset.progress?.percent ?? 0,
    progress: progressWords(asset),
    length: working ? '' : clock(asset.duration_s),
    tone: tone(asset),
    state: stateWords(asset),
    facts: [sizeName(asset), ago(asset.created_at)].filter(Boolean).join(' · '),
  };
}
