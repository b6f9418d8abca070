// The player's states: waiting (the film is still being prepared), opening, ready, failed. A film that becomes ready while somebody waits
// starts by itself; one that was ready shows its poster and waits for a press. A film may play while it is still growing; heartbeats then bring
// news of more, and the player moves up to better stages (climb.js).
import { Hls } from 'hls-video-element';
import { call } from '../api.js';
import { isWorking } from '../words.js';
import { GROWING, climb, lookForMore } from './climb.js';
import { failedWords, faultWords, growingWords, refusalWords, waitingWords } from './faults.js';
import { Session } from './session.js';

const ASK_AGAIN = 2000;
const FRESH_SESSIONS = 3;
const DECODER_TRIES = 2;
const BUFFER_S = 30;
const GROWING_BUFFER_S = 15; // what is buffered is shown before anything better
const STAGES = ['start', 'grow', 'final'];

export class Player {
  #root;
  #video;
  #session = null;
  #playable;
  #starts = false;
  #decoderTries = 0;
  #reopened = 0;
  #reopening = false;
  #stage = 'final';
  #climbing = false;

  constructor(root) {
    this.#root = root;
    this.#video = root.querySelector('hls-video');
    this.#playable = root.dataset.playable === 'true';
    Object.defineProperty(root, 'hls', { get: () => this.#video.api });
    this.#part('again').addEventListener('click', () => this.#restart());
    this.#part('unmute').addEventListener('click', () => this.#unmute());
    this.#video.addEventListener('error', () => { if (!this.#video.api) this.#fail(faultWords({})); }); // a native player's fault
    window.addEventListener('pagehide', () => this.#session?.close());
    this.#video.addEventListener('play', () => this.#keepFocus(), { once: true });
    // A page brought back by the browser's history has lost its session; it opens a new one where it stood.
    window.addEventListener('pageshow', (event) => { if (event.persisted && this.#session) this.#reopen(); });
  }

  async open() {
    try {
      if (!this.#playable && !(await this.#ready())) return;
      await this.#openSession();
      this.#load();
    } catch (refused) {
      this.#refused(refused);
    }
  }

  /** Whether the film plays by now; if not, what to say meanwhile is said and another look arranged. */
  async #ready() {
    const state = await call('GET', `/watch/${this.#root.dataset.playbackId}/state`);
    this.#playable = state.playable;
    if (state.playable) return true;
    if (isWorking(state)) this.#wait(waitingWords(state), state.progress?.percent);
    else this.#fail(failedWords(state));
    return false;
  }

  #wait({ title, words }, percent) {
    this.#starts = this.#root.dataset.starts === 'true';
    this.#show('waiting', title, words, percent);
    setTimeout(() => this.open(), ASK_AGAIN);
  }

  async #openSession() {
    const old = this.#session;
    this.#session = await Session.open(this.#root.dataset.playbackId, {
      state: () => ({ position_s: this.#video.currentTime || 0, state: this.#doing(), stage: this.#stage }),
      heard: (news) => this.#heard(news),
      ended: () => this.#fail(faultWords({ type: 'ended' })),
    });
    old?.close();
  }

  #load() {
    const poster = this.#root.querySelector('media-poster-image');
    if (this.#session.posterUrl) poster.src = this.#session.posterUrl;
    else poster.hidden = true;
    this.#enter(Hls.isSupported() ? this.#session.stage : 'final'); // native players stay with the playlist they have
    this.#video.src = this.#session.manifestUrl;
    queueMicrotask(() => this.#listen());
    this.#say(this.#session.stage);
    this.#show('ready');
    if (this.#starts) this.#start();
  }

  #enter(stage) {
    this.#stage = stage;
    this.#video.config = {
      ...GROWING,
      workerPath: this.#root.dataset.worker,
      maxBufferLength: BUFFER_S,
      ...(stage === 'final' ? {} : { maxMaxBufferLength: GROWING_BUFFER_S }),
      xhrSetup: (xhr, url) => xhr.open('GET', this.#session.current(url), true),
    };
  }

  #listen() {
    this.#video.api?.on(Hls.Events.ERROR, (_, data) => this.#fault(data));
  }

  /** A heartbeat's news: a better stage, or more of this one, or (`stage` null) that no more will come. */
  async #heard({ stage, manifest_url: url }) {
    if (this.#stage === 'final' || this.#climbing) return;
    this.#say(stage);
    if (url && STAGES.indexOf(stage) > STAGES.indexOf(this.#stage)) await this.#climb(stage, url);
    else lookForMore(this.#video);
  }

  async #climb(stage, url) {
    const before = this.#stage;
    this.#climbing = true;
    this.#enter(stage);
    if (await climb(this.#video, url)) this.#listen();
    else this.#enter(before);
    this.#climbing = false;
  }

  #say(stage) {
    const words = this.#part('growing');
    words.hidden = stage === 'final';
    setText(words, growingWords(stage, this.#session.durationS));
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

  /** The large button goes when playing starts; its focus moves to the small one, or the keyboard would be in nobody's hands. */
  #keepFocus() {
    if (document.activeElement?.matches('.player-start')) this.#part('play').focus({ preventScroll: true });
  }

  #refused(refused) {
    if (refused.status === 0) this.#wait({ title: 'No connection', words: refused.message });
    else this.#fail(refusalWords(refused));
  }

  /** A fault of hls.js. A refused token gets a fresh session at once; of the rest only fatal ones matter: a decoder gets another try,
      anything else words. */
  #fault(data) {
    const refused = [401, 403].includes(data.response?.code);
    if (refused && this.#reopening) return;
    if (refused && this.#reopened < FRESH_SESSIONS) this.#reopen();
    else if (!data.fatal) return;
    else if (data.type === Hls.ErrorTypes.MEDIA_ERROR && this.#decoderTries < DECODER_TRIES) {
      this.#decoderTries += 1;
      this.#video.api.recoverMediaError();
    } else this.#fail(faultWords(data));
  }

  async #reopen() {
    this.#reopening = true;
    this.#reopened += 1;
    try {
      await this.#openSession();
      this.#video.api?.startLoad(this.#video.currentTime);
    } catch (refused) {
      this.#refused(refused);
    }
    this.#reopening = false;
  }

  #restart() {
    this.#decoderTries = 0;
    this.#reopened = 0;
    this.#starts = true; // it was a press: playing is what they asked for
    this.#show('opening', 'Opening the film', '');
    this.open();
  }

  #fail({ title, words }) {
    this.#session?.close();
    this.#session = null;
    this.#video.pause?.();
    this.#show('failed', title, words);
  }

  #doing() {
    if (this.#video.ended) return 'ended';
    return this.#video.paused ? 'paused' : 'playing';
  }

  #show(state, title = '', words = '', percent = 0) {
    this.#root.dataset.state = state;
    this.#part('panel').hidden = state === 'ready';
    setText(this.#part('heading'), title);
    setText(this.#part('words'), words);
    this.#part('again').hidden = state !== 'failed';
    const bar = this.#part('progress');
    bar.hidden = state !== 'waiting';
    if (percent > 0) bar.value = percent;
    else bar.removeAttribute('value');
  }

  #part(name) {
    return this.#root.querySelector(`[data-${name}]`);
  }
}

// Written only when changed, so that a live region does not repeat itself every two seconds.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
