// How numbers and states are said, everywhere the same.

const WORKING = new Set(['queued', 'probing', 'encoding', 'packaging']);
const STATES = { queued: 'Waiting', probing: 'Reading', encoding: 'Encoding', packaging: 'Packaging', ready: 'Ready', errored: 'Failed', cancelled: 'Cancelled' };
const TONES = { ready: 'success', errored: 'danger', cancelled: '' };

export const isWorking = (asset) => WORKING.has(asset.processing);

export const tone = (asset) => TONES[asset.processing] ?? 'working';

/** What is said of a film: of one that plays, its newest version is what is being made or failed. */
export function stateWords(asset) {
  if (isWorking(asset) && asset.playable) return asset.stage === 'final' ? 'Updating' : 'Playable';
  if (asset.playable && asset.processing !== 'ready') return `Update ${STATES[asset.processing]?.toLowerCase() ?? asset.processing}`;
  return STATES[asset.processing] ?? asset.processing;
}

/** Whether a try failed and another one is coming. */
export const isRetrying = (asset) => isWorking(asset) && Boolean(asset.error?.retryable);

/** "Encoding 42 % · 3 min left"; what the pages say while a film is prepared. */
export function progressWords(asset) {
  if (asset.processing === 'queued' && isRetrying(asset)) return 'Waiting to try again';
  const { percent, eta_s: eta } = asset.progress ?? {};
  const parts = [STATES[asset.processing] ?? asset.processing];
  if (asset.processing !== 'queued' && percent > 0) parts[0] += ` ${Math.floor(percent)} %`;
  if (eta > 0) parts.push(`${duration(eta)} left`);
  return parts.join(' · ');
}

export function bytes(size) {
  if (size === null || size === undefined) return '';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  for (; size >= 1000 && at < units.length - 1; at += 1) size /= 1000;
  return `${at < 2 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

export function bitrate(perSecond) {
  if (!perSecond) return '';
  return perSecond >= 1e6 ? `${(perSecond / 1e6).toFixed(1)} Mb/s` : `${Math.round(perSecond / 1e3)} kb/s`;
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return '';
  const total = Math.max(1, Math.round(seconds)); // a film of half a second is not 0:00 long
  const [h, m, s] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60];
  const two = (n) => String(n).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A length in words: "40 s", "3 min", "1 h 5 min". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function ago(moment) {
  const passed = (Date.now() - new Date(moment).getTime()) / 1000;
  if (passed < 60) return 'just now';
  if (passed < 86400) return `${duration(passed)} ago`;
  return new Date(moment).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
}

/** The name people know a size by: its short side, "1080p". */
export function sizeName(thing) {
  return thing.width && thing.height ? `${Math.min(thing.width, thing.height)}p` : '';
}
