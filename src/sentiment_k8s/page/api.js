// The service as this page calls it. Addresses are relative, so the page also works under a path.

const PATIENCE = 60_000; // ms; the server's own deadline is 30 s
const A_DAY = 86_400_000; // ms, for a download: it can be cancelled
const TOKEN = "sentiment-read-token";
const BUSY = [429, 503];

/** An answer that is not a success: a sentence, the HTTP status (0: no answer), seconds to wait. */
export class ApiError extends Error {
  constructor(message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const readToken = () => sessionStorage.getItem(TOKEN);
export const keepToken = (token) => sessionStorage.setItem(TOKEN, token);
export const forgetToken = () => sessionStorage.removeItem(TOKEN);

/** What the server says about itself. */
export const getHealth = () => call("health");

/** Classify one text; every label comes back, the likeliest first. */
export const predictOne = (text) => post("predict", { text, top_k: 100 });

/** Classify texts, in their order. */
export async function predictMany(texts, signal) {
  return (await post("predict", { texts }, { signal })).predictions;
}

/** A page of the log, newest first: `{ predictions, next }`, `next` being null at the end. */
export const getPredictions = (query) =>
  call(`predictions?${new URLSearchParams(query)}`, { headers: bearer() });

/** The log in figures: `buckets` equal parts of the last `hours`, and the hours before these. */
export const getStats = (hours, buckets, reference) =>
  call(`stats?${new URLSearchParams({ hours, buckets, reference_hours: reference })}`, {
    headers: bearer(),
  });

/** Keep which label is right for a logged prediction; answers what is kept. */
export function giveFeedback(id, label, comment) {
  const body = { label, ...(comment && { comment }) };
  return post(`predictions/${encodeURIComponent(id)}/feedback`, body, { headers: bearer() });
}

/** All rows that `filters` let through as one file; `onBytes(count)` is told how it grows. */
export function downloadPredictions(type, filters, { signal, onBytes }) {
  return call(`predictions?${new URLSearchParams(filters)}`, {
    headers: { Accept: type, ...bearer() },
    signal,
    patience: A_DAY,
    read: (response) => countedBlob(response.body, onBytes),
  });
}

/** The browser moves a large blob to its disk, so a large log does not fill the memory. */
function countedBlob(body, onBytes) {
  let bytes = 0;
  const counter = new TransformStream({
    transform(chunk, stream) {
      onBytes((bytes += chunk.length));
      stream.enqueue(chunk);
    },
  });
  return new Response(body.pipeThrough(counter)).blob();
}

/**
 * Call `send` again while the server is busy or starting (429, 503), after the time it asks for.
 * `onWait(seconds)` is told before each wait. Gives up after `retries` and throws the last error.
 */
export async function patiently(send, { signal, onWait, retries = 6 }) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      if (!BUSY.includes(error.status) || attempt === retries) throw error;
      const seconds = Math.min(60, error.retryAfter ?? 2 ** attempt);
      onWait(seconds);
      await pause(seconds * 1000, signal);
    }
  }
}

function bearer() {
  const token = readToken();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function post(path, body, { headers, signal } = {}) {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    signal,
  });
}

const asJson = (response) => response.json();

async function call(path, { signal, patience = PATIENCE, read = asJson, ...options } = {}) {
  const limit = AbortSignal.timeout(patience);
  try {
    const response = await fetch(path, {
      cache: "no-store",
      ...options,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (response.ok) return await read(response);
    throw await refusal(response);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new ApiError(
      error.name === "TimeoutError"
        ? "The server did not answer within a minute. Try again."
        : "The server cannot be reached. Is it still running?",
    );
  }
}

async function refusal(response) {
  const answer = await response.json().catch(() => null);
  return new ApiError(answer?.error ?? `The server answered with status ${response.status}.`, {
    status: response.status,
    retryAfter: secondsOf(response.headers.get("Retry-After")),
  });
}

/** Retry-After is a number of seconds or a date (RFC 9110, 10.2.3). */
function secondsOf(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** Wait, or throw as soon as `signal` is aborted. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}
