// Uploads that this browser began and did not finish: after a reload or a restart they wait for their files to be chosen again.
import { call, csrfToken } from '../api.js';
import { bytes } from '../words.js';

const OURS = 'tus::tus-br-';
const WATCHERS = { private: 'Signed-in people only', public: 'Anyone with the link' };

/** What the list shows. Entries of uploads that have ended are forgotten; those of somebody else who signs in here are left alone. */
export async function unfinished() {
  const ours = (one) => one.urlStorageKey.startsWith(OURS) && one.uploadUrl && !one.metadata?.asset_id; // a film's page looks after its own
  const begun = (await window.tusMemory.findAllUploads()).filter(ours);
  const items = await Promise.all(begun.map(look));
  return items.filter(Boolean);
}

export function forget(item) {
  return window.tusMemory.removeUpload(item.key);
}

/** End it on the server too; false when that failed and it is worth another try. */
export async function discard(item) {
  try {
    await window.TusUpload.terminate(item.url, { headers: { 'x-csrf-token': csrfToken() } });
  } catch (error) {
    if (![404, 410].includes(error.originalResponse?.getStatus())) return false;
  }
  await forget(item);
  return true;
}

// Not by HEAD: that would make another page which is sending it let go.
async function look(one) {
  const item = { key: one.urlStorageKey, url: one.uploadUrl, name: one.metadata?.filename ?? '' };
  try {
    const upload = await call('GET', `/api/v1/uploads/${item.url.split('/').at(-1)}`);
    if (upload.state === 'receiving') return shown(item, upload, one);
    await forget(item);
  } catch {
    // Not ours to see, or the server is away: choosing the file still finds it.
  }
  return null;
}

function shown(item, upload, one) {
  const percent = upload.declared_size ? Math.floor((100 * upload.received) / upload.declared_size) : 0;
  const watchers = WATCHERS[one.metadata?.policy];
  const words = [`${percent} % of ${bytes(upload.declared_size)} sent`, ...(watchers ? [watchers] : [])].join(' · ');
  return { ...item, words, percent, label: `Discard ${item.name}` };
}
