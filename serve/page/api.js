// The server's HTTP API as functions. Addresses are relative to the page, so that it works below any path.

const KEY = "jr2net-key";

export const key = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

/** An answer that is no success, as the detail of its problem document (RFC 9457) says, or its status in words. */
export class Problem extends Error {
  constructor({ title, detail, status }, retryAfter = 1) {
    super(sentence(detail || FALLBACKS[status] || title || "The server gave no reason"));
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function call(path, { signal, ...options } = {}) {
  const headers = key() ? { Authorization: `Bearer ${key()}`, ...options.headers } : options.headers;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The server cannot be reached; try again in a moment." });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const said = { title: problem.title || response.statusText, detail: problem.detail, status: response.status };
  throw new Problem(said, Number(response.headers.get("Retry-After")) || 1);
}

const FALLBACKS = {
  401: "This server asks for a key: press “Key” above.",
  413: "The file is too large for this server.",
  429: "Too many requests; wait a moment.",
  503: "The server is busy or starting; try again in a moment.",
};

const sentence = (text) => `${text}`.replace(/^./, (first) => first.toUpperCase()).replace(/([^.!?…])$/, "$1.");

function form(parts) {
  const body = new FormData();
  for (const [name, value] of Object.entries(parts)) {
    if (value === undefined) continue;
    if (value instanceof Blob) body.append(name, value, value.name ?? `${name}.jpg`);
    else body.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return { method: "POST", body };
}

const picture = (blob) => ({ method: "POST", body: blob, headers: { "Content-Type": blob.type || "application/octet-stream" } });
const place = (box) => (box ? box.join(",") : undefined);
const fitted = (format, box) => `v1/reconstruct?${new URLSearchParams({ format, ...(box && { box: place(box) }) })}`;

// A photo is {blob, box}; box is [left, top, right, bottom] in its pixels where a person said where the face is.

/** Names of the coefficients, sizes and digests of the networks. */
export const describeModel = async () => (await call("v1/model")).json();

/** The fit of the photo's face, with the digest of the network that found it as `model`. */
export async function reconstruct({ blob, box }, signal) {
  const { model, faces } = await (await call(fitted("json", box), { ...picture(blob), signal })).json();
  return { model, ...faces[0] };
}

/** The fitted face as "obj" or "glb". */
export const mesh = async ({ blob, box }, format, signal) => (await call(fitted(format, box), { ...picture(blob), signal })).blob();

/** The photo with 51 named coefficients: a picture. */
export const express = async ({ blob, box }, expression, signal) =>
  (await call("v1/reenact", { ...form({ source: blob, box: place(box), expression }), signal })).blob();

/** The photo acting as the driving picture does. */
export const imitate = async ({ blob, box }, driving, switches, signal) =>
  (await call("v1/reenact", { ...form({ source: blob, box: place(box), driving, ...switches }), signal })).blob();

/** The photo acting as a clip or a capture does: an MP4. */
export const film = async ({ blob, box }, driving, switches, signal) =>
  (await call("v1/reenact/video", { ...form({ source: blob, box: place(box), driving, ...switches }), signal })).blob();

/** The socket that turns coefficients into pictures; its first message names the source. */
export function openStream() {
  const address = new URL("v1/stream", document.baseURI);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address);
  socket.binaryType = "blob";
  return socket;
}
