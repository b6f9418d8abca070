// Uploads, two at a time, each with its own row: over tus, so that a lost connection, a restarted server or a page that was loaded again
// only interrupts them; then the film's preparation is followed until it is ready.
import { call, csrfToken } from '../api.js';
import { Watcher } from '../watcher.js';
import { discard, unfinished } from './unfinished.js';
import { bytes, duration, isWorking, progressWords } from '../words.js';

const AT_ONCE = 2;
const SMOOTHING = 0.25;
// Each byte that arrives starts the row of pauses again, so this is four minutes without any.
const PAUSES_MS = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000];
const NOTICED_MS = 2000;
const LOST = 'The connection was lost.';

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

    async init() {
      watcher = new Watcher(() => this.follow());
      window.addEventListener('beforeunload', (event) => {
        if (this.rows.some((row) => row.isSending || row.isQueued)) event.preventDefault();
      });
      this.unfinished = await unfinished();
      // The server may not have noticed yet that the page went away in mid-upload: how far it came is known a moment later.
      if (this.hasUnfinished) setTimeout(() => this.lookAgain(), NOTICED_MS);
    },

    async lookAgain() {
      const now = await unfinished();
      this.unfinished = this.unfinished.map((item) => now.find((one) => one.key === item.key) ?? item);
    },

    get hasRows() { return this.rows.length > 0; },
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
      for (const file of files) this.rows.push(newRow((made += 1), file, limit, this.policy, this.hasChosen, transfers));
      this.pump();
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
      transfer.rate = 0;
      transfer.seen = null;
      const before = transfer.tus;
      transfer.tus = this.open(row, transfer);
      if (!before) await this.pickUp(row, transfer);
      else transfer.tus.url = before.url;
      if (row.isSending) transfer.tus.start();
    },

    open(row, transfer) {
      return new window.TusUpload(transfer.file, {
        endpoint: '/api/v1/tus',
        metadata: { filename: row.name, filetype: transfer.file.type, policy: row.policy },
        headers: { 'x-csrf-token': csrfToken() },
        retryDelays: PAUSES_MS,
        removeFingerprintOnSuccess: true,
        onProgress: (loaded, total) => measure(row, transfer, loaded, total),
        onShouldRetry: (error) => mayGoOn(row, error),
        onSuccess: () => this.sent(row, transfer),
        onError: (error) => this.stopped(row, error),
      });
    },

    /** Go on with what an earlier visit to this page began, unless another row is at it or other people were chosen to watch it. */
    async pickUp(row, transfer) {
      const taken = new Set([...transfers.values()].map((other) => other.tus?.url));
      const begun = await transfer.tus.findPreviousUploads();
      const fits = (one) => !row.hasChosen || one.metadata.policy === row.policy;
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
      const transfer = transfers.get(row.id);
      const wasSending = row.isSending;
      set(row, 'cancelled', wasSending ? 'Cancelled. Nothing was kept.' : 'Cancelled. Nothing was sent.');
      // Without a connection the server removes it by itself, later.
      if (wasSending) await transfer.tus.abort(true).catch(() => {});
      transfer.tus = null;
      this.pump();
    },

    again(event) {
      const row = this.rowOf(event);
      row.percent = 0;
      set(row, 'queued', 'Waiting for its turn');
      this.pump();
    },

    remove(event) {
      const row = this.rowOf(event);
      transfers.delete(row.id);
      this.rows = this.rows.filter((other) => other.id !== row.id);
    },

    rowOf(event) {
      return this.rows.find((row) => String(row.id) === event.currentTarget.dataset.row);
    },

    /** One round over the films being prepared. */
    async follow() {
      const waiting = this.rows.filter((row) => row.state === 'preparing');
      await Promise.all(waiting.map((row) => this.look(row)));
      return this.rows.some((row) => row.state === 'preparing');
    },

    /** Which film the upload became. */
    async name(row) {
      const made = await call('GET', `/api/v1/uploads/${row.uploadId}`);
      if (!made.asset_id) return; // its bytes are on their way into storage
      row.assetId = made.asset_id;
      row.href = `/admin/assets/${row.assetId}`;
    },

    async look(row) {
      try {
        if (!row.assetId) await this.name(row);
        if (!row.assetId) return;
        const asset = await call('GET', `/api/v1/assets/${row.assetId}`);
        if (isWorking(asset)) {
          row.percent = asset.progress?.percent || null;
          row.words = progressWords(asset);
        } else if (asset.processing === 'ready') {
          set(row, 'ready', 'Ready to play');
        } else {
          set(row, 'failed', asset.error?.detail ?? 'It could not be prepared.');
          row.canRetry = false;
        }
      } catch (error) {
        row.words = error.message;
      }
    },
  };
}

function newRow(id, file, limit, policy, hasChosen, transfers) {
  transfers.set(id, { file, tus: null });
  const row = { id, policy, hasChosen, name: file.name, size: bytes(file.size), percent: 0, uploadId: '', assetId: '', href: '', cancelLabel: `Cancel ${file.name}`, removeLabel: `Remove ${file.name} from this list` };
  if (!file.size) {
    set(row, 'failed', 'This file is empty.');
    row.canRetry = false;
  } else if (limit && file.size > limit) {
    set(row, 'failed', `This file is larger than the ${bytes(limit)} this server takes.`);
    row.canRetry = false;
  } else set(row, 'queued', 'Waiting for its turn');
  return row;
}

function set(row, state, words) {
  row.state = state;
  row.words = words;
  row.isQueued = state === 'queued';
  row.isSending = state === 'sending';
  row.isOpen = state === 'queued' || state === 'sending';
  row.isBusy = state === 'sending' || state === 'preparing';
  row.isReady = state === 'ready';
  row.isFailed = state === 'failed';
  row.canRetry = state === 'failed' || state === 'cancelled';
  row.canRemove = !row.isOpen && state !== 'preparing';
  row.tone = { failed: 'danger', ready: 'success', preparing: 'working' }[state] ?? '';
  row.label = { queued: 'Waiting', sending: 'Uploading', preparing: 'Preparing', ready: 'Ready', failed: 'Failed', cancelled: 'Cancelled' }[state];
}

function measure(row, transfer, loaded, total) {
  if (!row.isSending) return;
  const now = performance.now();
  transfer.seen ??= { at: now, loaded };
  const passed = (now - transfer.seen.at) / 1000;
  if (passed > 0.2) {
    const rate = (loaded - transfer.seen.loaded) / passed;
    transfer.rate = transfer.rate ? transfer.rate + SMOOTHING * (rate - transfer.rate) : rate;
    transfer.seen = { at: now, loaded };
  }
  row.percent = (100 * loaded) / total;
  const parts = [`${Math.floor(row.percent)} %`, `${bytes(loaded)} of ${bytes(total)}`];
  if (transfer.rate > 0) parts.push(`${bytes(transfer.rate)}/s`, `${duration((total - loaded) / transfer.rate)} left`);
  row.words = loaded < total ? parts.join(' · ') : 'Sent. The server is checking it.';
}

/** Whether to try again in a while. Only an answer that will not change ends it; the browser's word on being offline is not asked. */
function mayGoOn(row, error) {
  const status = statusOf(error);
  if (status >= 400 && status < 500 && ![408, 409, 423, 460].includes(status)) return false;
  if (row.isSending) row.words = status ? 'The server could not take it just now. It goes on in a moment.' : `${LOST} It goes on by itself.`;
  return true;
}

function statusOf(error) {
  return error.originalResponse?.getStatus() ?? 0;
}

function refusal(error) {
  const status = statusOf(error);
  if (!status) return `${LOST} Try again when you are back online: it goes on where it stopped.`;
  try {
    const problem = JSON.parse(error.originalResponse.getBody());
    return problem.detail || problem.title;
  } catch {
    return `The server refused the file (${status}).`;
  }
}
