// Faults of playing, said for people who came to see a film.
import { progressWords } from '../words.js';

const REFUSALS = {
  401: { title: 'Sign in to watch', words: 'This film is only for people with an account here.' },
  403: { title: 'Not for this account', words: 'You are signed in, but this film is not shared with you.' },
  404: { title: 'No such film', words: 'The link is wrong, or the film has been taken away.' },
  429: { title: 'Too many requests', words: 'Wait a moment, then try again.' },
};

/** Words for an ApiError of opening a session: a sentence while waiting, else {title, words}. */
export function refusalWords(refused) {
  if (refused.code === 'not_playable' && !refused.problem.error) {
    const { progress } = refused.problem;
    return progress?.stage ? `${progressWords({ processing: progress.stage, progress })}. It starts by itself.` : `${refused.message} It starts by itself.`;
  }
  if (refused.code === 'not_playable') return { title: 'This film could not be prepared', words: refused.message };
  return REFUSALS[refused.status] ?? { title: 'The film cannot be opened', words: refused.message };
}

/** Words for a fatal error of hls.js (or nothing, from a native player). */
export function faultWords({ type, response }) {
  if (type === 'networkError' && response?.code === 404) return { title: 'A part of the film is missing', words: 'The server no longer has it. If it was replaced just now, try again.' };
  if (type === 'networkError') return { title: 'The connection was lost', words: 'The film stops here until the server can be reached again.' };
  if (type === 'mediaError') return { title: 'Your browser cannot play this part', words: 'Its decoder gave up. Trying again often helps.' };
  return { title: 'Playing stopped', words: 'Something went wrong in the player. Try again.' };
}
