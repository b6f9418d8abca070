// One playback session: opened, kept alive by heartbeats, its token renewed on the way, closed when the page goes.
import { call } from '../api.js';

const TOKEN_ROOT = /^.*?\/p\/[^/]+\//;

export class Session {
  #id;
  #root;
  #timer;
  #every;
  #viewer;
  #closed = false;

  /** Opens a session; throws ApiError. `viewer.state()` gives the heartbeat's body, `viewer.heard()` gets its answer, `viewer.ended()` hears that
      somebody ended the session. */
  static async open(playbackId, viewer) {
    return new Session(await call('POST', '/api/v1/playback-sessions', { playback_id: playbackId }), viewer);
  }

  constructor(found, viewer) {
    this.#id = found.id;
    this.#viewer = viewer;
    this.manifestUrl = found.manifest_url;
    this.posterUrl = found.poster_url;
    this.stage = found.stage;
    this.durationS = found.duration_s;
    this.#adopt(found.manifest_url);
    this.#every = found.heartbeat_interval_s;
    this.#wait();
  }

  /** The same object under the newest token: every URI below the manifest is relative, so only the root differs. */
  current(url) {
    return url.replace(TOKEN_ROOT, this.#root);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    call('DELETE', this.#path, undefined, { keepalive: true }).catch(() => {});
  }

  #wait() {
    this.#timer = setTimeout(() => this.#beat(), this.#every * 1000);
  }

  async #beat() {
    const answer = await this.#ask();
    if (this.#closed) return;
    this.#every = answer?.heartbeat_interval_s ?? this.#every; // films that grow have a quicker pulse
    this.#wait();
    if (answer?.manifest_url) this.#adopt(answer.manifest_url);
    if (answer?.alive) this.#viewer.heard(answer);
    else if (answer) this.#viewer.ended();
  }

  /** A missed beat is no fault: media needs no session server while the token lives, and the next beat may arrive. */
  async #ask() {
    try {
      return await call('POST', `${this.#path}/heartbeat`, this.#viewer.state());
    } catch {
      return null;
    }
  }

  get #path() {
    return `/api/v1/playback-sessions/${this.#id}`;
  }

  #adopt(manifestUrl) {
    this.#root = new URL(manifestUrl, location.href).href.match(TOKEN_ROOT)[0];
  }
}
