// Polls while there is something to wait for and the page is in view; one request at a time, the next one 1.5 s after an answer.

const PERIOD = 1500;

export class Watcher {
  #work;
  #timer = 0;
  #wanted = false;

  /** `work()` does one round and resolves to whether there is still something to wait for. */
  constructor(work) {
    this.#work = work;
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.wake(); });
  }

  wake() {
    this.#wanted = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#round(), PERIOD);
  }

  sleep() {
    this.#wanted = false;
    clearTimeout(this.#timer);
  }

  async #round() {
    if (document.hidden) return;
    const more = await this.#work();
    if (more && this.#wanted) this.wake();
  }
}
