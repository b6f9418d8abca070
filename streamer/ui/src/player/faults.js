// Faults of playing, said for people who came to see a film.
import { clock, progressWords } from '../words.js';

const REFUSALS = {
  401: { title: 'Sign in to watch', words: 'This film is only for people with an account here.' },
  403: { title: 'Not for this account', words: 'You are signed in, but this film is not shared with you.' },
  404: { title: 'No such film', words: 'The link is wrong, or the film has been taken away.' },
  429: { title: 'Too many requests', words: 'Wait a moment, then try again.' },
};

/** While a film is being prepared. */
export const waitingWords = (state) => ({ title: 'This film is being prepared', words: `${progressWords(state)}. It starts by itself.` });

/** While it plays and more of it comes; `stage` is null when no more will. Stands behind "0:03 / 0:36". */
export const growingWords = (stage, seconds) => `of ${clock(seconds)}, ${stage ? 'still being prepared' : 'the rest is missing'}`;

/** When its preparation ended without a film. */
export function failedWords({ processing }) {
  const why = processing === 'cancelled' ? 'Its preparation was stopped.' : 'Its preparation failed. Whoever uploaded it can see why.';
  return { title: 'There is no film to play yet', words: why };
}

/** For an ApiError of opening a session. */
export function refusalWords({ status, message }) {
  return REFUSALS[status] ?? { title: 'The film cannot be opened', words: message };
}

/** For a fatal error of hls.js, or for nothing known, from a native player. */
export function faultWords({ type, response }) {
  if (type === 'ended') return { title: 'Your viewing was ended', words: 'It was ended on the server. You may start again.' };
  if (type === 'networkError' && response?.code === 404) return { title: 'A part of the film is missing', words: 'If the film was replaced just now, trying again helps.' };
  if (type === 'networkError') return { title: 'The connection was lost', words: 'The film stops here until the server can be reached again.' };
  if (type === 'mediaError') return { title: 'Your browser cannot play this part', words: 'Its decoder gave up. Trying again often helps.' };
  return { title: 'Playing stopped', words: 'Something went wrong in the player. Try again.' };
}
