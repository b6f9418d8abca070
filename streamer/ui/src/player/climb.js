// Moving up to a better stage of the film (start, grow, final) while it plays.
//
// Stages are other playlists over the same segments and the same clock. A second hls.js reads the better one, then takes over the media element
// with its buffers as they are: what is buffered plays on, and the first better segment is joined to it a few seconds ahead.
import { Hls } from 'hls-video-element';

const KEPT_S = 4; // of what is buffered: time to fetch the first better segment
const ENOUGH_S = 12; // ahead of the viewer
const SLACK_S = 0.25; // between the ends of segments of sound and picture, and hls.js's own
const OVERLAP_S = 0.2; // of sound, whose segments end within a frame of the picture's
const { Events } = Hls;

/** Settings of hls.js for playlists that grow. */
export const GROWING = {
  liveDurationInfinity: false, // the seek bar ends where the film ends by now
  latencyController: undefined, // no live edge to keep close to
  interstitialsController: undefined, // it would take a film that begins to load in its middle there
};

/** Whether `video` plays from the playlist at `url` now. If not, nothing has changed: it cannot be read, or it has nothing more than is buffered. */
export async function climb(video, url) {
  const old = video.api;
  const next = new Hls({ ...video.config, ...habits(old) });
  try {
    const at = joint(video, await read(next, url, old));
    if (at !== null && video.api === old) {
      await takeOver(video, next, at);
      return true;
    }
  } catch { /* the next heartbeat brings another try */ }
  next.destroy();
  return false;
}

/** Ask for more now, if all there was is buffered and soon played: hls.js itself asks every six seconds, which is as long as a first segment. */
export function lookForMore({ api, currentTime, buffered }) {
  const end = endOf(buffered, currentTime);
  const media = api ? played(api) : [];
  if (!media.length || media.some(({ details }) => !details?.live || end < details.edge - 0.5) || end > currentTime + ENOUGH_S) return;
  media.forEach(({ details }) => { details.requestScheduled = performance.now(); });
  api.startLoad(currentTime, true);
}

/** What the old one has learnt or was told. */
function habits(old) {
  const { maxBufferLength, maxBufferSize } = old.config; // next to nothing before the first press of play
  const known = Number.isFinite(old.bandwidthEstimate) ? { abrEwmaDefaultEstimate: old.bandwidthEstimate } : {};
  return { ...known, maxBufferLength, maxBufferSize, testBandwidth: false, audioPreference: old.audioTracks[old.audioTrack] };
}

/** The playlist's segments, once all it takes to play is known. */
function read(hls, url, old) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const media = played(hls);
      if (media.some(({ details }) => !details)) return;
      media.forEach(({ details }) => { details.PTSKnown = true; }); // ours are exact; hls.js would look at a first segment to learn that
      resolve(media[0].details.fragments);
    };
    hls.on(Events.MANIFEST_PARSED, () => keepQuality(hls, old));
    hls.on(Events.LEVEL_LOADED, look);
    hls.on(Events.AUDIO_TRACK_LOADED, look);
    hls.on(Events.ERROR, (_, { fatal }) => { if (fatal) reject(new Error(url)); });
    hls.loadSource(url);
  });
}

/** The rung and the sound track in use. */
const played = (hls) => [hls.levels[hls.loadLevel], hls.audioTracks[hls.audioTrack]].filter(Boolean);

function keepQuality(hls, old) {
  if (old.autoLevelEnabled) return;
  const { height } = old.levels[old.manualLevel];
  hls.loadLevel = hls.levels.findIndex((level) => level.height === height);
}

/** Where to join: where the first segment begins that is late enough or is not buffered; null when there is nothing of that kind. */
function joint({ currentTime, buffered }, fragments) {
  const had = endOf(buffered, currentTime);
  const first = fragments.find(({ start, end }) => start >= currentTime + KEPT_S || end > had + SLACK_S);
  if (!first) return null;
  return first.start < had - SLACK_S && first.start < currentTime + KEPT_S ? had : first.start;
}

function endOf(buffered, time) {
  for (let i = 0; i < buffered.length; i += 1) {
    if (buffered.start(i) <= time + 0.1 && buffered.end(i) >= time) return buffered.end(i);
  }
  return time;
}

async function takeOver(video, next, at) {
  const old = video.api;
  const held = old.transferMedia();
  video.api = next;
  old.destroy();
  await Promise.all(Object.entries(held.tracks).map(([type, { buffer }]) => cut(buffer, type === 'audio' ? at + OVERLAP_S : at)));
  showTracks(video, next);
  next.startLoad(at + SLACK_S, true); // before it has media, lest sound begins elsewhere
  next.attachMedia(held);
}

/** Forget what is buffered from there on. */
async function cut(buffer, at) {
  await idle(buffer);
  const { length } = buffer.buffered;
  if (!length || buffer.buffered.end(length - 1) <= at) return;
  buffer.remove(at, Infinity);
  await idle(buffer);
}

function idle(buffer) {
  return buffer.updating ? new Promise((done) => { buffer.addEventListener('updateend', done, { once: true }); }) : undefined;
}

/** What hls-video does for an hls.js of its own making: the menus' entries. */
function showTracks(video, hls) {
  [...video.videoTracks].forEach((track) => video.removeVideoTrack(track));
  [...video.audioTracks].forEach((track) => video.removeAudioTrack(track));
  const main = video.addVideoTrack('main');
  main.id = 'main';
  main.selected = true;
  hls.levels.forEach(({ url, width, height, videoCodec, bitrate }, id) => {
    main.addRendition(url[0], width, height, videoCodec, bitrate).id = `${id}`;
  });
  hls.audioTracks.forEach((found, id) => {
    const track = video.addAudioTrack(found.default ? 'main' : 'alternative', found.name, found.lang);
    track.id = `${id}`;
    track.enabled = id === hls.audioTrack;
  });
}
