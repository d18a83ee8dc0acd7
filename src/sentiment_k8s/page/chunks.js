// Many texts, sent in pieces that the server takes.

import { patiently, predictMany } from "./api.js";

const MAX_TEXTS = 128; // the server takes 256; smaller pieces move the progress bar sooner
// The server takes 2 MiB a body, but what it admits at once is bounded in tokens: a piece of this
// many bytes stays below that in any language.
const MAX_BYTES = 64 * 1024;
const MAX_TEXT_BYTES = 1024 * 1024;
const REFUSED = [400, 413, 422]; // the server found fault with a text, not with the moment

const encoder = new TextEncoder();

/** Split items `{ text }` into pieces within the limits, in order. */
export function pieces(items) {
  const found = [];
  let piece = [];
  let bytes = 0;
  for (const item of items) {
    const size = encoder.encode(JSON.stringify(item.text)).length;
    if (piece.length > 0 && (piece.length === MAX_TEXTS || bytes + size > MAX_BYTES)) {
      found.push(piece);
      piece = [];
      bytes = 0;
    }
    piece.push({ ...item, size });
    bytes += size;
  }
  return piece.length > 0 ? [...found, piece] : found;
}

/**
 * Classify items `{ text, ... }` piece by piece. `onAnswers(piece, answers)` is called for each
 * piece; an answer is the server's, or `{ error }` for a text that it refused. `onWait(seconds)`
 * is told when the server is busy. Throws when the server gives up or `signal` is aborted.
 */
export async function classifyAll(items, { signal, onAnswers, onWait }) {
  for (const piece of pieces(items)) {
    onAnswers(piece, await classifyPiece(piece, { signal, onWait }));
  }
}

async function classifyPiece(piece, options) {
  if (piece[0].size > MAX_TEXT_BYTES) return [{ error: "Longer than 1 MiB, not sent." }];
  try {
    const texts = piece.map(({ text }) => text);
    return await patiently(() => predictMany(texts, options.signal), options);
  } catch (error) {
    if (!REFUSED.includes(error.status)) throw error;
    if (piece.length === 1) return [{ error: error.message }];
  }
  // One bad text must hurt only itself: halve until it stands alone.
  const middle = piece.length >> 1;
  return [
    ...(await classifyPiece(piece.slice(0, middle), options)),
    ...(await classifyPiece(piece.slice(middle), options)),
  ];
}
