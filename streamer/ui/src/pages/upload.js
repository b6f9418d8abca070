// Uploads, two at a time, each with its own row: over tus, so that a lost connection, a restarted server or a page that was loaded again
// only interrupts them; then the film's preparation is followed until it is ready. What the server fetches itself, and what waits for a
// decision, stands in the same list.
import { call } from '../api.js';
import { Watcher } from '../watcher.js';
import { discard, unfinished } from './unfinished.js';
import { LOOKS, becomes, isLookedAt, look } from './following.js';
import { fileRow, measure, remoteRow, set, summary } from './rows.js';
import { refusal, statusOf, transferOf } from './sending.js';

const AT_ONCE = 2;
const NOTICED_MS = 2000;

export function upload() {
  let watcher;
  let made = 0;
  const transfers = new Map();
  return {
    rows: [],
    unfinished: [],
    over: false,
    policy: 'private',
    hasChosen: false,
    url: '',
    urlProblem: '',
    asking: false,

    async init() {
      watcher = new Watcher(() => this.follow());
      window.addEventListener('beforeunload', (event) => {
        if (this.rows.some((row) => row.isSending || row.isQueued)) event.preventDefault();
      });
      this.findOthers();
      this.unfinished = await unfinished();
      // The server may not have noticed yet that the page went away in mid-upload: how far it came is known a moment later.
      if (this.hasUnfinished) setTimeout(() => this.lookAgain(), NOTICED_MS);
    },

    async lookAgain() {
      const now = await unfinished();
      this.unfinished = this.unfinished.map((item) => now.find((one) => one.key === item.key) ?? item);
    },

    /** Imports under way and duplicates that wait, from an earlier visit or another browser. */
    async findOthers() {
      try {
        const [held, arriving] = await Promise.all(['held', 'receiving'].map((state) => call('GET', `/api/v1/uploads?state=${state}`)));
        const others = [...held.data, ...arriving.data.filter((upload) => upload.url)];
        this.rows = [...this.rows, ...others.map((upload) => remoteRow((made += 1), upload))];
        if (others.length) watcher.wake();
      } catch {
        // They are only not shown; what is uploaded here works all the same.
      }
    },

    get hasRows() { return this.rows.length > 0; },
    get hasSeveral() { return this.rows.filter((row) => row.total).length > 1; },
    get hasFinished() { return this.rows.some((row) => row.isOver); },
    get together() { return summary(this.rows).words; },
    get togetherPercent() { return summary(this.rows).percent; },
    get hasUrlProblem() { return Boolean(this.urlProblem); },
    get urlInvalid() { return this.urlProblem ? 'true' : null; },
    get cannotImport() { return this.asking || !this.url.trim(); },
    get hasUnfinished() { return this.unfinished.length > 0; },
    get overFlag() { return this.over ? '' : null; },
    enter() { this.over = true; },
    leave() { this.over = false; },
    chosePolicy() { this.hasChosen = true; },
    drop(event) {
      this.over = false;
      this.add(event.dataTransfer.files);
    },
    choose(event) {
      this.add(event.target.files);
      event.target.value = '';
    },

    add(files) {
      const limit = Number(this.$root.dataset.maxBytes || 0);
      for (const file of files) {
        const row = fileRow((made += 1), file, limit, this.policy, this.hasChosen);
        transfers.set(row.id, { file, tus: null });
        this.rows.push(row);
      }
      this.pump();
    },

    /** Have the server fetch what the address leads to. The browser's own parser spells it as servers want it. */
    async fetchUrl() {
      this.asking = true;
      this.urlProblem = '';
      try {
        const url = URL.canParse(this.url.trim()) ? new URL(this.url.trim()).href : this.url.trim();
        const upload = await call('POST', '/api/v1/imports', { url, policy: this.policy, on_duplicate: 'offer' });
        this.rows.push(remoteRow((made += 1), upload));
        this.url = '';
        watcher.wake();
      } catch (error) {
        this.urlProblem = error.message;
      }
      this.asking = false;
    },

    pump() {
      while (this.rows.filter((row) => row.isSending).length < AT_ONCE) {
        const next = this.rows.find((row) => row.isQueued);
        if (!next) return;
        this.send(next);
      }
    },

    async send(row) {
      set(row, 'sending', 'Starting');
      const transfer = transfers.get(row.id);
      row.rate = 0;
      transfer.seen = null;
      const before = transfer.tus;
      transfer.tus = transferOf(row, transfer, {
        onProgress: (loaded, total) => this.progressed(row, transfer, loaded, total),
        onSuccess: () => this.sent(row, transfer),
        onError: (error) => this.stopped(row, error),
      });
      if (!before) await this.pickUp(row, transfer);
      else transfer.tus.url = before.url;
      if (row.isSending) transfer.tus.start();
    },

    progressed(row, transfer, loaded, total) {
      if (isLookedAt(row.loaded, loaded)) {
        row.looks = LOOKS;
        watcher.wake();
      }
      measure(row, transfer, loaded, total);
    },

    /** Go on with what an earlier visit to this page began, unless another row is at it or other people were chosen to watch it. */
    async pickUp(row, transfer) {
      const taken = new Set([...transfers.values()].map((other) => other.tus?.url));
      const begun = await transfer.tus.findPreviousUploads();
      const fits = (one) => !one.metadata.asset_id && (!row.hasChosen || one.metadata.policy === row.policy); // else it is a film's next version
      const found = begun.find((one) => fits(one) && !taken.has(one.uploadUrl));
      if (!found) return;
      transfer.tus.resumeFromPreviousUpload(found);
      this.unfinished = this.unfinished.filter((item) => item.url !== found.uploadUrl);
    },

    async discard(event) {
      const item = this.unfinished.find((one) => one.key === event.currentTarget.dataset.key);
      if (await discard(item)) this.unfinished = this.unfinished.filter((one) => one.key !== item.key);
      else item.words = 'It could not be discarded just now. Try again in a moment.';
    },

    sent(row, transfer) {
      row.uploadId = transfer.tus.url.split('/').at(-1);
      row.percent = null;
      this.settle(row, 'preparing', 'Uploaded. Preparing it for streaming.');
      watcher.wake();
    },

    stopped(row, error) {
      if (statusOf(error) === 401) location.assign('/admin/sign-in');
      this.settle(row, 'failed', refusal(error));
    },

    settle(row, state, words) {
      set(row, state, words);
      this.pump();
    },

    async cancel(event) {
      const row = this.rowOf(event);
      if (row.isFetching) return this.stopImport(row);
      const transfer = transfers.get(row.id);
      const wasSending = row.isSending;
      set(row, 'cancelled', wasSending ? 'Cancelled. Nothing was kept.' : 'Cancelled. Nothing was sent.');
      // Without a connection the server removes it by itself, later.
      if (wasSending) await transfer.tus.abort(true).catch(() => {});
      transfer.tus = null;
      this.pump();
    },

    async stopImport(row) {
      try {
        await call('POST', `/api/v1/jobs/${row.jobId}/cancel`);
        set(row, 'cancelled', 'Cancelled. Nothing was kept.');
      } catch (error) {
        row.words = error.message;
      }
    },

    async again(event) {
      const row = this.rowOf(event);
      row.percent = 0;
      if (!row.jobId) {
        set(row, 'queued', 'Waiting for its turn');
        return this.pump();
      }
      try {
        await call('POST', `/api/v1/jobs/${row.jobId}/retry`);
        set(row, 'fetching', 'Waiting for a worker');
        watcher.wake();
      } catch (error) {
        row.words = error.message;
      }
    },

    async keep(event) {
      const row = this.rowOf(event);
      try {
        const { asset } = await call('POST', `/api/v1/uploads/${row.uploadId}/keep`);
        becomes(row, asset.id);
        set(row, 'preparing', 'Kept. Preparing it for streaming.');
        watcher.wake();
      } catch (error) {
        row.words = error.message;
      }
    },

    async discardDuplicate(event) {
      const row = this.rowOf(event);
      try {
        await call('POST', `/api/v1/uploads/${row.uploadId}/discard`);
        set(row, 'cancelled', 'Discarded. The film that was there stays.');
        row.canRetry = false;
      } catch (error) {
        row.words = error.message;
      }
    },

    remove(event) {
      const row = this.rowOf(event);
      transfers.delete(row.id);
      this.rows = this.rows.filter((other) => other.id !== row.id);
    },

    clear() {
      this.rows.filter((row) => row.isOver).forEach((row) => transfers.delete(row.id));
      this.rows = this.rows.filter((row) => !row.isOver);
    },

    rowOf(event) {
      return this.rows.find((row) => String(row.id) === event.currentTarget.dataset.row);
    },

    /** One round over all that is not over; resolves to whether to ask again. */
    async follow() {
      await Promise.all(this.rows.map((row) => look(row, transfers.get(row.id)?.tus?.url)));
      return this.rows.some((row) => row.state === 'preparing' || row.isFetching || (row.isSending && row.looks > 0));
    },
  };
}
