// The versions of one film: what plays, what could play, and the ways to another one: another file, or the same one encoded again.
import { call } from '../api.js';
import { Watcher } from '../watcher.js';
import { ago, bytes, clock, isWorking, progressWords, sizeName } from '../words.js';
import { say } from './parts.js';
import { fileRow, measure, remoteRow, set, told } from './rows.js';
import { refusal, statusOf, transferOf } from './sending.js';

const STATES = { ready: 'Ready', errored: 'Failed', cancelled: 'Cancelled' };
const NOTHING = { name: '', words: '', percent: 0, isQueued: false, isSending: false, isFetching: false, isBusy: false, isFailed: false };

export function versions() {
  let watcher;
  let transfer = {};
  return {
    rows: [],
    loaded: false,
    problem: '',
    busy: false,
    chosen: { id: '', name: '' },
    largest: '',
    loudness: '',
    keeps: true,
    sending: { ...NOTHING },
    url: '',
    urlProblem: '',
    asking: false,

    init() {
      this.findImport();
      watcher = new Watcher(() => this.refresh());
      this.refresh().then((more) => { if (more) watcher.wake(); });
      window.addEventListener('beforeunload', (event) => { if (this.sending.isSending) event.preventDefault(); });
    },

    get hasProblem() { return Boolean(this.problem); },
    get isLoading() { return !this.loaded && !this.problem; },
    get hasFile() { return this.sending.isBusy || this.sending.isFailed; },
    get hasUrlProblem() { return Boolean(this.urlProblem); },
    get urlInvalid() { return this.urlProblem ? 'true' : null; },
    get cannotImport() { return this.asking || !this.url.trim(); },
    get at() { return `/api/v1/assets/${this.$root.dataset.asset}/versions`; },

    /** Resolves to whether something is still being made. The film above is told when that changes. */
    async refresh() {
      try {
        const { data } = await call('GET', `${this.at}?limit=200`);
        const before = this.rows.map((row) => row.id + row.state + row.live).join();
        const live = data.find((one) => one.live);
        this.rows = data.map((one) => face(one, live, data.length));
        if (this.loaded && before !== this.rows.map((row) => row.id + row.state + row.live).join()) this.$dispatch('film-changed');
        this.loaded = true;
        this.problem = '';
        await this.lookAtImport();
        return data.some(isWorking) || this.sending.isFetching;
      } catch (error) {
        this.problem = error.message;
        return error.status === 0 || error.status >= 500;
      }
    },

    rowOf(event) {
      return this.rows.find((row) => row.id === event.currentTarget.dataset.version);
    },

    askPublish(event) { this.open(event, this.$refs.publishing); },
    askDelete(event) { this.open(event, this.$refs.deleting); },
    askAgain(event) {
      [this.largest, this.loudness, this.keeps] = ['', '', true];
      this.open(event, this.$refs.again);
    },
    askUrl() {
      this.urlProblem = '';
      this.$refs.address.showModal();
    },
    open(event, dialog) {
      this.chosen = this.rowOf(event);
      dialog.showModal();
    },
    close() {
      for (const dialog of [this.$refs.publishing, this.$refs.deleting, this.$refs.again, this.$refs.address]) dialog?.close();
    },

    async publish() {
      await this.act('Published. Who opens the film from now on gets this version.', () => call('POST', `${this.at}/${this.chosen.id}/publish`));
    },
    async remove() {
      await this.act('Version deleted', () => call('DELETE', `${this.at}/${this.chosen.id}`));
    },
    async encode() {
      const options = { from: this.chosen.id };
      if (this.largest) options.max_short_side = Number(this.largest);
      if (this.loudness) options.loudness_lufs = Number(this.loudness);
      if (!this.keeps) options.passthrough = false;
      await this.act('A new version is being made', () => call('POST', this.at, options));
    },

    /** One change at a time, its fault said in place. */
    async act(done, work) {
      this.busy = true;
      try {
        await work();
        if (await this.refresh()) watcher.wake();
        say(done);
      } catch (error) {
        this.problem = error.message;
      }
      this.busy = false;
      this.close();
    },

    pick() { this.$refs.file.click(); },
    async choose(event) {
      const [file] = event.target.files;
      event.target.value = '';
      if (!file) return;
      this.sending = fileRow(0, file, Number(this.$root.dataset.maxBytes || 0), '', false);
      if (this.sending.isQueued) await this.send(file);
    },

    async send(file) {
      const row = this.sending;
      const purpose = { asset_id: this.$root.dataset.asset };
      set(row, 'sending', 'Starting');
      transfer = { file };
      transfer.tus = transferOf(row, transfer, {
        onProgress: (loaded, total) => measure(row, transfer, loaded, total),
        onSuccess: () => this.sent(),
        onError: (error) => this.failed(error),
      }, purpose);
      const begun = await transfer.tus.findPreviousUploads();
      const found = begun.find((one) => one.metadata.asset_id === purpose.asset_id);
      if (found) transfer.tus.resumeFromPreviousUpload(found);
      if (row.isSending) transfer.tus.start();
    },

    async sent() {
      this.sending = { ...NOTHING };
      say('Uploaded. The new version is being made.');
      if (await this.refresh()) watcher.wake();
    },

    /** Have the server fetch the film's next file. The browser's own parser spells the address as servers want it. */
    async fetchUrl() {
      this.asking = true;
      this.urlProblem = '';
      try {
        const url = URL.canParse(this.url.trim()) ? new URL(this.url.trim()).href : this.url.trim();
        this.sending = remoteRow(0, await call('POST', '/api/v1/imports', { url, asset_id: this.$root.dataset.asset }));
        this.close();
        watcher.wake();
      } catch (error) {
        this.urlProblem = error.message;
      }
      this.asking = false;
    },

    /** An import for this film from an earlier visit. */
    async findImport() {
      try {
        const { data } = await call('GET', '/api/v1/uploads?state=receiving&limit=200');
        const found = data.find((one) => one.url && one.replaces === this.$root.dataset.asset);
        if (!found || this.hasFile) return;
        this.sending = remoteRow(0, found);
        watcher.wake();
      } catch {
        // It is only not shown; it becomes a version all the same.
      }
    },

    async lookAtImport() {
      const row = this.sending;
      if (!row.isFetching) return;
      const upload = await call('GET', `/api/v1/uploads/${row.uploadId}`);
      if (row !== this.sending || !row.isFetching) return; // stopped meanwhile
      if (upload.state !== 'received') return told(row, upload);
      this.url = '';
      await this.sent();
    },

    failed(error) {
      if (statusOf(error) === 401) location.assign('/admin/sign-in');
      set(this.sending, 'failed', refusal(error));
    },

    async stop() {
      const [ended, { isSending: wasSending, isFetching, jobId }] = [transfer.tus, this.sending];
      this.sending.isSending = false;
      this.sending = { ...NOTHING };
      if (isFetching) await call('POST', `/api/v1/jobs/${jobId}/cancel`).catch((error) => { this.problem = error.message; });
      // Without a connection the server removes it by itself, later.
      if (wasSending) await ended?.abort(true).catch(() => {});
    },
  };
}

/** What a row shows, as plain values: Alpine's CSP build only looks things up. */
function face(one, live, count) {
  const working = isWorking(one);
  const isOlder = Boolean(live) && one.id < live.id;
  const isReady = one.processing === 'ready';
  return {
    id: one.id,
    name: one.source.name,
    live: one.live,
    state: one.live ? 'Live' : working ? progressWords(one) : STATES[one.processing] ?? one.processing,
    tone: one.live ? 'success' : working ? 'working' : one.processing === 'errored' ? 'danger' : '',
    facts: [sizeName(one), clock(one.duration_s), `${bytes(one.source.size)} file`, one.created_by?.name ? `by ${one.created_by.name}` : '', ago(one.created_at)].filter(Boolean).join(' · '),
    hash: `SHA-256 ${one.source.sha256}`,
    options: optionWords(one.options),
    note: noteOf(one, working),
    working,
    percent: one.progress?.percent ?? 0,
    canPublish: isReady && !one.live,
    publishWords: isOlder ? 'Roll back to this' : 'Publish',
    canDelete: !one.live && count > 1,
    label: `${one.source.name}, ${ago(one.created_at)}`,
  };
}

function noteOf(one, working) {
  if (working) return one.publishes_itself ? 'Becomes live by itself when it is ready.' : 'Waits to be published when it is ready: a version was chosen by hand after this one was begun.';
  return one.processing === 'errored' ? one.error?.detail ?? '' : '';
}

function optionWords(options) {
  const words = [];
  if (options.max_short_side) words.push(`${options.max_short_side}p at most`);
  if (options.ladder) words.push(`qualities ${options.ladder.map((rung) => `${rung.short_side}p at ${rung.max_kbps} kb/s`).join(', ')}`);
  if (options.loudness_lufs === 0) words.push('loudness left as it is');
  else if (options.loudness_lufs) words.push(`loudness ${options.loudness_lufs} LUFS`);
  if (options.passthrough === false) words.push('every quality encoded');
  return words.length ? `Encoded again: ${words.join(', ')}` : '';
}
