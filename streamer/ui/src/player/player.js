// The player's states: opening, waiting (the film is still being prepared), ready, failed. A film that becomes ready while somebody waits
// starts by itself; one that was ready shows its poster and waits for a press.
import { Hls } from 'hls-video-element';
import { Session } from './session.js';
import { faultWords, refusalWords } from './faults.js';

const ASK_AGAIN = 2000;
const FRESH_SESSIONS = 3;
const SWITCH_UP_BUFFER = 30;

export class Player {
  #root;
  #video;
  #session = null;
  #waited = false;
  #recoveries = 0;
  #reopened = 0;

  constructor(root) {
    this.#root = root;
    this.#video = root.querySelector('hls-video');
    Object.defineProperty(root, 'hls', { get: () => this.#video.api });
    this.#part('again').addEventListener('click', () => this.#restart());
    this.#part('unmute').addEventListener('click', () => this.#unmute());
    window.addEventListener('pagehide', () => this.#session?.close());
  }

  async open() {
    try {
      this.#session = await Session.open(this.#root.dataset.playbackId, () => this.#video.currentTime || 0);
    } catch (refused) {
      this.#refused(refused);
      return;
    }
    this.#load();
  }

  #load() {
    this.#root.querySelector('media-poster-image').toggleAttribute('hidden', !this.#session.posterUrl);
    if (this.#session.posterUrl) this.#root.querySelector('media-poster-image').src = this.#session.posterUrl;
    this.#video.config = {
      workerPath: this.#root.dataset.worker,
      maxBufferLength: SWITCH_UP_BUFFER,
      capLevelToPlayerSize: false,
      xhrSetup: (xhr, url) => xhr.open('GET', this.#session.current(url), true),
    };
    this.#video.src = this.#session.manifestUrl;
    queueMicrotask(() => this.#listen());
    this.#show('ready');
    if (this.#waited) this.#start();
  }

  #listen() {
    const hls = this.#video.api;
    if (hls) hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) this.#fault(data); });
    else this.#video.addEventListener('error', () => this.#fail(faultWords({})));
    this.#video.textTracks?.addEventListener('change', () => {});
  }

  /** Starts without a press, silently if that is all the browser allows. */
  async #start() {
    try {
      await this.#video.play();
    } catch {
      this.#video.muted = true;
      this.#part('unmute').hidden = false;
      await this.#video.play().catch(() => {});
    }
  }

  #unmute() {
    this.#video.muted = false;
    this.#part('unmute').hidden = true;
  }

  #refused(refused) {
    if (refused.code === 'not_playable' && !refused.problem.error) {
      this.#waited = true;
      const percent = refused.problem.progress?.percent;
      this.#show('waiting', 'This film is being prepared', refusalWords(refused), percent > 0 ? percent : null);
      setTimeout(() => this.open(), ASK_AGAIN);
    } else if (refused.status === 0) {
      this.#show('waiting', 'No connection', refused.message, null);
      setTimeout(() => this.open(), ASK_AGAIN * 2);
    } else this.#fail(refusalWords(refused));
  }

  /** A fatal fault of hls.js: a refused token gets a fresh session, a decoder another try, anything else words. */
  #fault(data) {
    const refused = [401, 403].includes(data.response?.code);
    if (refused && this.#reopened < FRESH_SESSIONS) return this.#reopen();
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.#recoveries < 2) {
      this.#recoveries += 1;
      return this.#video.api.recoverMediaError();
    }
    return this.#fail(faultWords(data));
  }

  async #reopen() {
    this.#reopened += 1;
    try {
      const old = this.#session;
      this.#session = await Session.open(this.#root.dataset.playbackId, () => this.#video.currentTime || 0);
      old.close();
      this.#video.api.startLoad(this.#video.currentTime);
    } catch (refused) {
      this.#refused(refused);
    }
  }

  #restart() {
    this.#session?.close();
    this.#session = null;
    this.#recoveries = 0;
    this.#reopened = 0;
    this.#waited = true; // it was a press: playing is what they asked for
    this.#show('opening', 'Opening the film', '');
    this.open();
  }

  #fail({ title, words }) {
    this.#video.pause?.();
    this.#show('failed', title, words);
  }

  #show(state, title = '', words = '', percent) {
    this.#root.dataset.state = state;
    this.#part('panel').hidden = state === 'ready';
    setText(this.#part('heading'), title);
    setText(this.#part('words'), words);
    this.#part('again').hidden = state !== 'failed';
    const bar = this.#part('progress');
    bar.hidden = state !== 'waiting';
    if (percent === null || percent === undefined) bar.removeAttribute('value');
    else bar.value = percent;
  }

  #part(name) {
    return this.#root.querySelector(`[data-${name}]`);
  }
}

// Written only when changed, so that a live region does not repeat itself every two seconds.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
