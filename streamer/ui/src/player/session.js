// One playback session: opened, kept alive by heartbeats, its token renewed on the way, closed when the page goes.
import { call } from '../api.js';

const TOKEN_ROOT = /^.*?\/p\/[^/]+\//;

export class Session {
  #id;
  #root;
  #timer;
  #viewer;

  /** Opens a session; throws ApiError. `viewer.state()` gives the heartbeat's body, `viewer.ended()` hears that somebody ended the session. */
  static async open(playbackId, viewer) {
    return new Session(await call('POST', '/api/v1/playback-sessions', { playback_id: playbackId }), viewer);
  }

  constructor(found, viewer) {
    this.#id = found.id;
    this.#viewer = viewer;
    this.manifestUrl = found.manifest_url;
    this.posterUrl = found.poster_url;
    this.#adopt(found.manifest_url);
    this.#timer = setInterval(() => this.beat(), found.heartbeat_interval_s * 1000);
  }

  /** The same object under the newest token: every URI below the manifest is relative, so only the root differs. */
  current(url) {
    return url.replace(TOKEN_ROOT, this.#root);
  }

  async beat() {
    try {
      const { alive, manifest_url: renewed } = await call('POST', `${this.#path}/heartbeat`, this.#viewer.state());
      if (renewed) this.#adopt(renewed);
      if (!alive) this.#viewer.ended();
    } catch {
      // A missed beat is no fault: media needs no session server while the token lives, and the next beat may arrive.
    }
  }

  close() {
    clearInterval(this.#timer);
    call('DELETE', this.#path, undefined, { keepalive: true }).catch(() => {});
  }

  get #path() {
    return `/api/v1/playback-sessions/${this.#id}`;
  }

  #adopt(manifestUrl) {
    this.#root = new URL(manifestUrl, location.href).href.match(TOKEN_ROOT)[0];
  }
}
