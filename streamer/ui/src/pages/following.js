// What the server tells of the rows of the upload page: how far an import is, what is wrong with a file, how the film is coming on.
import { call } from '../api.js';
import { hold, set, told, warn } from './rows.js';
import { isWorking, progressWords } from '../words.js';

// The server looks at what has come when it has so many bytes; a warning is there a moment later.
const LOOKED_AT = [2 << 20, 17 << 20];
export const LOOKS = 5;

export const isLookedAt = (before, after) => LOOKED_AT.some((mark) => before < mark && after >= mark);

/** How a row is doing; `url` is where the page itself sends it. */
export async function look(row, url) {
  try {
    if (row.isFetching) await lookAtImport(row);
    else if (row.isSending && row.looks > 0) await lookForWarning(row, url);
    else if (row.state === 'preparing') await lookAtFilm(row);
  } catch (error) {
    row.words = error.message;
  }
}

async function lookAtImport(row) {
  const upload = await call('GET', `/api/v1/uploads/${row.uploadId}`);
  if (!row.isFetching) return; // cancelled meanwhile
  if (upload.state === 'receiving' || upload.state === 'failed') told(row, upload);
  else arrived(row, upload);
}

async function lookForWarning(row, url) {
  row.looks -= 1;
  const upload = url && (await call('GET', `/api/v1/uploads/${url.split('/').at(-1)}`));
  if (upload) warn(row, upload.warning);
}

/** The bytes are all there: they are a film, wait for a decision, or are still on their way into storage. */
function arrived(row, upload) {
  if (upload.state === 'held') return hold(row, upload);
  if (upload.state === 'failed') return set(row, 'failed', upload.error?.detail ?? 'It came to nothing.');
  if (!upload.asset_id) return;
  becomes(row, upload.asset_id);
  if (row.isFetching) set(row, 'preparing', 'Here. Preparing it for streaming.');
}

export function becomes(row, assetId) {
  row.assetId = assetId;
  row.href = `/admin/assets/${assetId}`;
}

async function lookAtFilm(row) {
  if (!row.assetId) arrived(row, await call('GET', `/api/v1/uploads/${row.uploadId}`));
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
}
