// One file on its way over tus: how long a broken line is waited for, and what a refusal says.
import { csrfToken } from '../api.js';

// Each byte that arrives starts the row of pauses again, so this is four minutes without any.
const PAUSES_MS = [0, 1000, 3000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000];
const LOST = 'The connection was lost.';

/** `on` are the transfer's events; a duplicate is not made a film but asked about, unless `purpose` says something else. */
export function transferOf(row, transfer, on, purpose = { policy: row.policy, on_duplicate: 'offer' }) {
  return new window.TusUpload(transfer.file, {
    endpoint: '/api/v1/tus',
    metadata: { filename: row.name, filetype: transfer.file.type, ...purpose },
    headers: { 'x-csrf-token': csrfToken() },
    retryDelays: PAUSES_MS,
    removeFingerprintOnSuccess: true,
    onShouldRetry: (error) => mayGoOn(row, error),
    ...on,
  });
}

/** Whether to try again in a while. Only an answer that will not change ends it; the browser's word on being offline is not asked. */
function mayGoOn(row, error) {
  const status = statusOf(error);
  if (status >= 400 && status < 500 && ![408, 409, 423, 460].includes(status)) return false;
  if (row.isSending) row.words = status ? 'The server could not take it just now. It goes on in a moment.' : `${LOST} It goes on by itself.`;
  return true;
}

export function statusOf(error) {
  return error.originalResponse?.getStatus() ?? 0;
}

export function refusal(error) {
  const status = statusOf(error);
  if (!status) return `${LOST} Try again when you are back online: it goes on where it stopped.`;
  try {
    const problem = JSON.parse(error.originalResponse.getBody());
    return problem.detail || problem.title;
  } catch {
    return `The server refused the file (${status}).`;
  }
}
