// The rows of the upload page: one for each film on its way in, from this browser or from a web address. Plain values, as Alpine's CSP build
// only looks things up.
import { bytes, duration } from '../words.js';

const SMOOTHING = 0.25;
const LABELS = { queued: 'Waiting', sending: 'Uploading', fetching: 'Importing', preparing: 'Preparing', held: 'Your choice', ready: 'Ready', failed: 'Failed', cancelled: 'Cancelled' };
const TONES = { failed: 'danger', ready: 'success', preparing: 'working', fetching: 'working', held: 'primary' };
const OVER = new Set(['ready', 'failed', 'cancelled']);

/** A file that was chosen; one that can't be taken has failed already. */
export function fileRow(id, file, limit, policy, hasChosen) {
  const row = { ...blank(id, file.name), policy, hasChosen, total: file.size, size: bytes(file.size) };
  if (!file.size) refuse(row, 'This file is empty.');
  else if (limit && file.size > limit) refuse(row, `This file is larger than the ${bytes(limit)} this server takes.`);
  else set(row, 'queued', 'Waiting for its turn');
  return row;
}

/** An upload that the server knows and this page did not send: an import, or one that waits for a decision. */
export function remoteRow(id, upload) {
  const row = { ...blank(id, upload.filename), uploadId: upload.id, jobId: upload.job?.id ?? '', policy: '' };
  if (upload.state === 'held') hold(row, upload);
  else told(row, upload);
  return row;
}

function blank(id, name) {
  return { id, name, size: '', total: 0, loaded: 0, rate: 0, percent: 0, uploadId: '', jobId: '', assetId: '', href: '', warning: '', warningTitle: '', looks: 0, original: '', originalHref: '', ...labels(name) };
}

function labels(name) {
  return { cancelLabel: `Cancel ${name}`, removeLabel: `Remove ${name} from this list`, keepLabel: `Keep both: ${name}`, discardLabel: `Discard ${name}` };
}

function refuse(row, words) {
  set(row, 'failed', words);
  row.canRetry = false;
}

export function set(row, state, words) {
  row.state = state;
  row.words = words;
  row.isQueued = state === 'queued';
  row.isSending = state === 'sending';
  row.isFetching = state === 'fetching';
  row.isHeld = state === 'held';
  row.isOpen = row.isQueued || row.isSending || row.isFetching;
  row.isBusy = row.isSending || row.isFetching || state === 'preparing';
  row.isFailed = state === 'failed';
  row.isOver = OVER.has(state);
  row.hasWarning = Boolean(row.warning) && row.isBusy;
  row.canRetry = state === 'failed' || state === 'cancelled';
  row.canRemove = row.isOver;
  row.tone = TONES[state] ?? '';
  row.label = LABELS[state];
}

export function warn(row, warning) {
  row.warningTitle = warning?.title ?? '';
  row.warning = warning?.detail ?? '';
  row.hasWarning = Boolean(row.warning) && row.isBusy;
}

/** A film has the same bytes: the person decides. */
export function hold(row, upload) {
  row.original = upload.duplicate_of?.title ?? '';
  row.originalHref = upload.duplicate_of ? `/admin/assets/${upload.duplicate_of.asset_id}` : '';
  row.size ||= bytes(upload.received);
  set(row, 'held', '');
}

/** How an import is doing, in the server's words. */
export function told(row, upload) {
  Object.assign(row, { name: upload.filename, ...labels(upload.filename), size: bytes(upload.declared_size) });
  warn(row, upload.warning);
  const { job } = upload;
  if (upload.state === 'failed') return set(row, job?.state === 'cancelled' ? 'cancelled' : 'failed', upload.error?.detail ?? 'It came to nothing.');
  set(row, 'fetching', importWords(upload));
  row.percent = upload.declared_size ? (100 * upload.received) / upload.declared_size : null;
}

function importWords({ job, received, declared_size: size }) {
  if (job?.state === 'queued' && job.error) return `${job.error.detail}`;
  if (job?.state === 'queued') return 'Waiting for a worker';
  const parts = [size ? `${bytes(received)} of ${bytes(size)}` : `${bytes(received)} so far`];
  if (job?.progress?.eta_s) parts.push(`${duration(job.progress.eta_s)} left`);
  return parts.join(' · ');
}

/** How a file's bytes go; `transfer` remembers what speed is made of. */
export function measure(row, transfer, loaded, total) {
  if (!row.isSending) return;
  const now = performance.now();
  transfer.seen ??= { at: now, loaded };
  const passed = (now - transfer.seen.at) / 1000;
  if (passed > 0.2) {
    const rate = (loaded - transfer.seen.loaded) / passed;
    row.rate = row.rate ? row.rate + SMOOTHING * (rate - row.rate) : rate;
    transfer.seen = { at: now, loaded };
  }
  row.loaded = loaded;
  row.percent = (100 * loaded) / total;
  const parts = [`${Math.floor(row.percent)} %`, `${bytes(loaded)} of ${bytes(total)}`];
  if (row.rate > 0) parts.push(`${bytes(row.rate)}/s`, `${duration((total - loaded) / row.rate)} left`);
  row.words = loaded < total ? parts.join(' · ') : 'Sent. The server is checking it.';
}

/** All files of this page in one line, and how far they are together. */
export function summary(rows) {
  const files = rows.filter((row) => row.total && !row.isFailed && row.state !== 'cancelled');
  const total = files.reduce((sum, row) => sum + row.total, 0);
  const sent = files.reduce((sum, row) => sum + (row.isOpen ? row.loaded : row.total), 0);
  const rate = files.reduce((sum, row) => sum + (row.isSending ? row.rate : 0), 0);
  const open = files.filter((row) => row.isOpen).length;
  const parts = [`${files.length - open} of ${files.length} sent`, `${bytes(sent)} of ${bytes(total)}`];
  if (open && rate > 0) parts.push(`${duration((total - sent) / rate)} left`);
  const failed = rows.filter((row) => row.isFailed).length;
  if (failed) parts.push(`${failed} failed`);
  return { words: parts.join(' · '), percent: total ? (100 * sent) / total : 0 };
}
