// One film: its state kept current while it is prepared, its title and publication changed in place, and the ways to retry, stop, delete.
import { call } from '../api.js';
import { Watcher } from '../watcher.js';
import { ago, bitrate, bytes, clock, isRetrying, isWorking, progressWords, sizeName, stateWords, tone } from '../words.js';
import { say } from './parts.js';

const STAGES = ['queued', 'probing', 'encoding', 'packaging'];
const POLICIES = { public: 'Anyone with the link', private: 'Signed-in people only' };

export function asset() {
  let watcher;
  return {
    id: '',
    film: blank(),
    renditions: [],
    links: [],
    title: '',
    problem: '',
    loaded: false,
    shown: false,
    busy: false,

    init() {
      this.id = this.$root.dataset.asset;
      watcher = new Watcher(() => this.refresh());
      this.refresh().then((more) => { if (more) watcher.wake(); });
    },

    get hasRenditions() { return this.renditions.length > 0; },
    get hasProblem() { return Boolean(this.problem); },

    async refresh() {
      try {
        const found = await call('GET', `/api/v1/assets/${this.id}`);
        const was = this.film.processing;
        if (!this.loaded) this.title = found.title;
        this.film = face(found);
        this.shown ||= found.playable; // who watches what a failed encode left keeps watching
        this.links = found.playback_ids.map(linkFace);
        this.loaded = true;
        this.problem = '';
        if (!this.film.working && was !== this.film.processing) await this.readRenditions();
      } catch (error) {
        this.problem = error.message;
        if (error.status === 401) { location.assign('/admin/sign-in'); return false; }
        return error.status === 0 || error.status >= 500;
      }
      return this.film.working;
    },

    /** Its versions changed below: what plays, or what is being made. */
    async changed() {
      if (await this.refresh()) watcher.wake();
      else await this.readRenditions();
    },

    async readRenditions() {
      const { data } = await call('GET', `/api/v1/assets/${this.id}/renditions`);
      this.renditions = data.map(renditionFace);
    },

    async rename() {
      const title = this.title.replace(/\s+/g, ' ').trim();
      if (title && title !== this.film.title) await this.change({ title }, 'Title saved');
      this.title = this.film.title;
    },
    leaveTitle(event) {
      event.preventDefault();
      event.target.blur();
    },

    async publish(event) {
      await this.change({ publication: event.target.value }, 'Publication saved');
    },

    async change(values, done) {
      await this.act(async () => {
        this.film = face(await call('PATCH', `/api/v1/assets/${this.id}`, values));
        say(done);
      });
    },

    async addLink(event) {
      await this.act(async () => {
        await call('POST', `/api/v1/assets/${this.id}/playback-ids`, { policy: event.currentTarget.dataset.policy });
        await this.refresh();
        say('Link made');
      });
    },

    async retry() {
      await this.act(async () => {
        await call('POST', `/api/v1/jobs/${this.film.jobId}/retry`);
        await this.refresh();
        watcher.wake();
      });
    },

    async stop() {
      await this.act(async () => {
        await call('POST', `/api/v1/jobs/${this.film.jobId}/cancel`);
        await this.refresh();
        watcher.wake();
      });
    },

    ask() { this.$refs.question.showModal(); },
    close() { this.$refs.question.close(); },
    async remove() {
      await this.act(async () => {
        await call('DELETE', `/api/v1/assets/${this.id}`);
        location.assign('/admin');
      });
      this.close();
    },

    /** One change at a time, its fault said in place. */
    async act(work) {
      this.busy = true;
      try {
        await work();
        this.problem = '';
      } catch (error) {
        this.problem = error.message;
      }
      this.busy = false;
    },
  };
}

function blank() {
  return { title: '', processing: '', working: false, playable: false, stages: [], tone: '', state: '', facts: [] };
}

function face(found) {
  const working = isWorking(found);
  return {
    title: found.title,
    processing: found.processing,
    publication: found.publication,
    working,
    failed: found.processing === 'errored',
    cancelled: found.processing === 'cancelled',
    playable: found.playable,
    canRetry: found.processing === 'cancelled' || Boolean(found.error?.retryable),
    percent: found.progress?.percent ?? 0,
    progress: progressWords(found),
    speed: found.progress?.speed ? `${found.progress.speed.toFixed(1)} times real time` : '',
    tone: tone(found),
    state: stateWords(found),
    stages: STAGES.map((name, at) => ({ name, words: stageWords[name], state: stageState(at, STAGES.indexOf(found.processing)) })),
    errorTitle: found.error?.title ?? '',
    errorDetail: found.error?.detail ?? '',
    retrying: isRetrying(found),
    attempt: found.error ? `Attempt ${found.error.attempt} failed. Another one follows by itself.` : '',
    jobId: found.job_id,
    length: clock(found.duration_s) || 'not known yet',
    frame: found.width ? `${found.width} × ${found.height} (${sizeName(found)})` : 'not known yet',
    added: ago(found.created_at),
    sourceName: found.source?.name ?? '',
    sourceSize: bytes(found.source?.size),
  };
}

const stageWords = { queued: 'Wait for a free worker', probing: 'Read the file', encoding: 'Encode every quality', packaging: 'Package and publish' };

function stageState(at, now) {
  if (at === now) return 'now';
  return at < now ? 'done' : 'next';
}

function renditionFace(row) {
  return {
    id: row.id ?? row.name,
    name: row.kind === 'video' ? sizeName(row) || row.name : row.name,
    kind: { video: 'Video', audio: 'Audio', text: 'Captions' }[row.kind] ?? row.kind,
    frame: row.width ? `${row.width} × ${row.height}` : '',
    rate: row.frame_rate ? `${rateOf(row.frame_rate)} fps` : '',
    codecs: row.codecs ?? '',
    average: bitrate(row.average_bandwidth),
    peak: bitrate(row.bandwidth),
    size: bytes(row.size),
  };
}

function rateOf(text) {
  const [over, under = 1] = String(text).split('/').map(Number);
  return Number((over / under).toFixed(2));
}

function linkFace({ id, policy }) {
  const href = `/watch/${id}`;
  return { id, href, url: new URL(href, location.href).href, policy: POLICIES[policy] ?? policy, tone: policy === 'public' ? 'primary' : '' };
}
