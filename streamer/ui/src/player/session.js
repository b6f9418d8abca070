// One playback session: opened, kept alive by heartbeats, its token renewed on the way, closed when the page goes.
import { call } from '../api.js';

const TOKEN_ROOT = /^.*?\/p\/[^/]+\//;

export class Session {
  #id;
  #root;
  #timer = 0;
  #position;

  /** Opens a session; throws ApiError. `position()` gives the play head in seconds. */
  static async open(playbackId, position) {
    const found = await call('POST', '/api/v1/playback-sessions', { playback_id: playbackId });
    return new Session(found, position);
  }

  constructor(found, position) {
    this.#id = found.id;
    this.#position = position;
    this.manifestUrl = found.manifest_url;
    this.posterUrl = found.poster_url;
    this.#adopt(found.manifest_url);
    this.#timer = setInterval(() => this.beat(), (found.heartbeat_interval_s || 20) * 1000);
  }

  /** The same object under the newest token: every URI below the manifest is relative, so only the root differs. */
  current(url) {
    return TOKEN_ROOT.test(url) ? url.replace(TOKEN_ROOT, this.#root) : url;
  }

  async beat() {
    try {
      const { alive, manifest_url: renewed } = await call('POST', `/api/v1/playback-sessions/${this.#id}/heartbeat`, { position_s: this.#position() });
      if (alive && renewed) this.#adopt(renewed);
    } catch {
      // A missed beat is no fault: media needs no session server while the token lives, and the next beat may arrive.
    }
  }

  close() {
    clearInterval(this.#timer);
    call('DELETE', `/api/v1/playback-sessions/${this.#id}`, undefined, { keepalive: true }).catch(() => {});
  }

  #adopt(manifestUrl) {
    this.#root = new URL(manifestUrl, location.href).href.match(TOKEN_ROOT)[0];
  }
}
