// JSON over the public API. State changes from a signed-in page carry its CSRF token; faults become ApiError with words to show.

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || 'The server could not answer.');
    this.status = status;
    this.code = problem.code ?? '';
    this.problem = problem;
  }
}

export const OFFLINE = 'The server cannot be reached. Check your connection; this page keeps trying.';

export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? '';
}

/** Parsed JSON of an answer, null for 204; throws ApiError (status 0 when there was no answer at all). */
export async function call(method, path, body, options = {}) {
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET' && csrfToken()) headers['x-csrf-token'] = csrfToken();
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...options });
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new ApiError(0, { detail: OFFLINE });
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  throw new ApiError(response.status, await problemOf(response));
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: response.statusText };
  }
}
