// Uploads: raw bytes by XHR (fetch tells no upload progress), two at a time, each with its own row; then the film's preparation is
// followed until it is ready.
import { call, csrfToken } from '../api.js';
import { Watcher } from '../watcher.js';
import { bytes, duration, isWorking, progressWords } from '../words.js';

const AT_ONCE = 2;
const SMOOTHING = 0.25;

export function upload() {
  let watcher;
  let made = 0;
  const transfers = new Map();
  return {
    rows: [],
    over: false,
    policy: 'private',

    init() {
      watcher = new Watcher(() => this.follow());
      window.addEventListener('beforeunload', (event) => {
        if (this.rows.some((row) => row.isSending || row.isQueued)) event.preventDefault();
      });
    },

    get hasRows() { return this.rows.length > 0; },
    get overFlag() { return this.over ? '' : null; },
    enter() { this.over = true; },
    leave() { this.over = false; },
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
      for (const file of files) this.rows.push(newRow((made += 1), file, limit, this.policy, transfers));
      this.pump();
    },

    pump() {
      while (this.rows.filter((row) => row.isSending).length < AT_ONCE) {
        const next = this.rows.find((row) => row.isQueued);
        if (!next) return;
        this.send(next);
      }
    },

    send(row) {
      set(row, 'sending', 'Starting');
      const xhr = new XMLHttpRequest();
      const transfer = transfers.get(row.id);
      transfer.xhr = xhr;
      transfer.rate = 0;
      transfer.seen = { at: performance.now(), loaded: 0 };
      const query = new URLSearchParams({ filename: row.name, policy: row.policy });
      xhr.open('POST', `/api/v1/uploads?${query}`);
      xhr.setRequestHeader('content-type', 'application/octet-stream');
      xhr.setRequestHeader('x-csrf-token', csrfToken());
      xhr.responseType = 'json';
      xhr.upload.onprogress = (event) => measure(row, transfer, event);
      xhr.onload = () => this.sent(row, xhr);
      xhr.onerror = () => this.settle(row, 'failed', 'The connection was lost before the whole file arrived. Try again when you are back online.');
      xhr.onabort = () => this.settle(row, 'cancelled', 'Cancelled. Nothing was kept.');
      xhr.send(transfer.file);
    },

    sent(row, xhr) {
      if (xhr.status === 401) location.assign('/admin/sign-in');
      if (xhr.status !== 201) return this.settle(row, 'failed', refusal(xhr));
      row.assetId = xhr.response.asset.id;
      row.href = `/admin/assets/${row.assetId}`;
      row.percent = null;
      this.settle(row, 'preparing', 'Uploaded. Preparing it for streaming.');
      watcher.wake();
    },

    settle(row, state, words) {
      set(row, state, words);
      this.pump();
    },

    cancel(event) {
      const row = this.rowOf(event);
      const { xhr } = transfers.get(row.id);
      if (row.isSending) xhr.abort();
      else this.settle(row, 'cancelled', 'Cancelled. Nothing was sent.');
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

    async look(row) {
      try {
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

function newRow(id, file, limit, policy, transfers) {
  transfers.set(id, { file, xhr: null });
  const row = { id, policy, name: file.name, size: bytes(file.size), percent: 0, assetId: '', href: '', cancelLabel: `Cancel ${file.name}`, removeLabel: `Remove ${file.name} from this list` };
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

function measure(row, transfer, { loaded, total }) {
  const now = performance.now();
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

function refusal(xhr) {
  const problem = xhr.response ?? {};
  return problem.detail || problem.title || `The server refused the file (${xhr.status}).`;
}
