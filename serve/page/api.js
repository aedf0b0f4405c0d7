// The server's HTTP API as functions. URLs are relative to the page, so that it works under any path.

import { readFilm } from "./film.js";

const KEY = "jr2net-key"; // in the session storage

export const getKey = () => sessionStorage.getItem(KEY) ?? "";
export const storeKey = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

/** An error response. Its message is the detail of the problem document (RFC 9457), or a fallback for the status. */
export class Problem extends Error {
  constructor({ title, detail, status }, retryAfter = 1) {
    super(sentence(forUsers(detail) || FALLBACKS[status] || title || "The server gave no reason"));
    this.status = status;
    this.retryAfter = retryAfter; // seconds
  }
}

async function call(path, { signal, ...options } = {}) {
  const headers = getKey() ? { Authorization: `Bearer ${getKey()}`, ...options.headers } : options.headers;
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { ...options, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The server cannot be reached; try again in a moment." });
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  const problem = { title: content.title || response.statusText, detail: content.detail, status: response.status };
  throw new Problem(problem, Number(response.headers.get("Retry-After")) || 1);
}

const FALLBACKS = {
  401: "This server requires a key: press “Key” above.",
  413: "The file is too large for this server.",
  429: "Too many requests; wait a moment.",
  503: "The server is busy or starting; try again in a moment.",
};

/** Callers of the API give a box by a field; the users of the page mark the face. */
const forUsers = (detail) =>
  detail?.replace(/(, or|;) give [^:]*box: box=.*$/, "$1 mark the face").replace(/(, or|;) give [^:]*box: driving_box=.*$/, "");

export const sentence = (text) => `${text}`.replace(/^./, (first) => first.toUpperCase()).replace(/([^.!?…])$/, "$1.");

function formRequest(fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    if (value instanceof Blob) body.append(name, value, value.name ?? `${name}.jpg`);
    else body.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return { method: "POST", body };
}

const imageRequest = (blob) => ({ method: "POST", body: blob, headers: { "Content-Type": blob.type || "application/octet-stream" } });
const boxField = (box) => (box ? box.join(",") : undefined);
const which = ({ box, face }) => (box ? { box: boxField(box) } : face ? { face: `${face}` } : {});
const reconstructPath = (format, source) => `v1/reconstruct?${new URLSearchParams({ format, ...which(source) })}`;

// A source is {blob, box, face}: box is [left, top, right, bottom] in the photo's pixels if the user marked the face, and
// face the index of a detected one, the largest first.

/** Names of the coefficients, sizes and digests of the networks, limits. */
export const describeModel = async () => (await call("v1/model")).json();

/** The fitted face, with the digest of the network as `model`. */
export async function reconstruct(source, signal) {
  const { model, faces } = await (await call(reconstructPath("json", source), { ...imageRequest(source.blob), signal })).json();
  return { model, ...faces[0] };
}

/** The mesh of the fitted face as "obj" or "glb". */
export const fetchMesh = async (source, format, signal) =>
  (await call(reconstructPath(format, source), { ...imageRequest(source.blob), signal })).blob();

/** The photo with {expression, pitch, yaw, roll}, as an image: 51 named coefficients, and degrees. */
export const reenact = async (source, wanted, signal) =>
  (await call("v1/reenact", { ...formRequest({ source: source.blob, ...which(source), ...wanted }), signal })).blob();

/** The photo with the expression of a driving photo, one of whose faces `driving_face` chooses, as an image. */
export const reenactWithPhoto = async (source, driving, controls, signal) =>
  (await call("v1/reenact", { ...formRequest({ source: source.blob, ...which(source), driving, ...controls }), signal })).blob();

/**
 * A photo or a video, driven by a video or a capture, or a video that `fields` change, as {video, notes}. `onFrames` is called
 * with the number of frames that are done, and with that of all, 0 where it is not known.
 */
export async function renderVideo(source, fields, onFrames, signal) {
  const response = await call("v1/reenact/video", { ...formRequest({ source: source.blob, ...which(source), ...fields }), signal });
  const count = Number(response.headers.get("X-Film-Frames")) || 0;
  return readFilm(response.body, (frames) => onFrames(frames, count)).catch(stoppedEarly);
}

const stoppedEarly = (error) => {
  if (error.name === "AbortError") throw error;
  throw new Problem({ detail: "The server stopped before the end of the video; try again." });
};

/**
 * A photo, or the first frame of a video that shows a face, as the server sees it: a JPEG as `blob`, the `boxes` of the faces
 * of a video's frame, the largest first, and `notes` on the file.
 */
export async function fetchPicture(file, signal) {
  const request = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal };
  const response = await call("v1/picture", request);
  const boxes = JSON.parse(response.headers.get("X-Face-Boxes") ?? "[]");
  return { blob: await response.blob(), boxes, notes: [response.headers.get("X-Capture-Notes") ?? []].flat() };
}

/** A capture file as {name, fps, frames, notes}; each frame holds the 51 coefficients by name. */
export async function readCapture(file, signal) {
  const request = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal };
  const { fps, names, frames, notes } = await (await call("v1/capture", request)).json();
  const named = frames.map((values) => Object.fromEntries(names.map((name, index) => [name, values[index]])));
  return { name: file.name.replace(/\.[^.]*$/, ""), fps, frames: named, notes };
}

/**
 * Tracks a face of a video, the largest being 0; calls `onFrame` with {seconds, expression, rotation} as each frame is done,
 * null where no face is seen. Returns the notes, and the whole track as files by their kind: csv, json and glb, smoothed with
 * what comes after, less the resting face where `neutral` says which: seconds or auto.
 */
export async function trackVideo(file, { face = 0, neutral = "" }, onFrame, signal) {
  const request = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal };
  const query = new URLSearchParams({ format: "ndjson", files: "csv,json,glb", face, ...(neutral && { neutral }) });
  const reader = (await call(`v1/track?${query}`, request)).body.pipeThrough(new TextDecoderStream()).getReader();
  let [names, rest, notes] = [[], "", null];
  const files = {};
  const read = (line) => {
    const { seconds, expression, rotation, ...other } = JSON.parse(line);
    if (other.names) names = other.names;
    else if (other.done) notes = other.notes;
    else if (other.file) files[other.file] = Uint8Array.from(atob(other.base64), (letter) => letter.charCodeAt(0));
    else onFrame({ seconds, rotation, expression: expression && Object.fromEntries(names.map((name, i) => [name, expression[i]])) });
  };
  const next = () => reader.read().catch(stoppedEarly);
  for (let { done, value } = await next(); !done; { done, value } = await next()) {
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach(read);
  }
  if (!notes) stoppedEarly(new Error("no last line"));
  return { notes, files };
}

/** The content of a blob as text for the WebSocket. */
export async function base64(blob) {
  const dataUrl = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
  return dataUrl.slice(dataUrl.indexOf(",") + 1);
}

/** The first message of the WebSocket. */
export const streamSource = (source, encoded) =>
  ({ source: encoded, ...(source.box ? { box: source.box } : { face: source.face ?? 0 }), ...(getKey() && { key: getKey() }) });

/** The WebSocket that returns an image for every expression; the first message is the source. */
export function openStream() {
  const url = new URL("v1/stream", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  socket.binaryType = "blob";
  return socket;
}
