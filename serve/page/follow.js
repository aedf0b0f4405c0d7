// Live preview: keeps the photo in sync with the sliders, by WebSocket if possible, else by POST requests. Only the newest
// expression is sent.

import { base64, openStream, Problem, reenact, streamSource } from "./api.js";

const DEBOUNCE_MS = 90; // slider events within this time become one POST request
const TIMEOUT_MS = 20000; // without a response the WebSocket is given up

/**
 * @param {{blob: Blob, box?: number[], face?: number}} source
 * @param {{onImage: (image: Blob, ms: number, transport: string) => void, onError: (error: Error) => void}} listener
 */
export function createPreview(source, listener) {
  let [transport, queued, closed] = [null, null, false];
  const dequeue = () => {
    const wanted = queued;
    queued = null;
    return wanted;
  };
  const use = (open) => {
    transport?.close();
    transport = open(source, dequeue, listener, (unanswered) => {
      if (closed) return;
      queued ??= unanswered;
      use(openPost);
      if (queued) transport.wake(true);
    });
  };
  use(openSocket);
  return {
    /** Requests the photo with {expression, pitch, yaw, roll}; `final`: no other one is about to follow. */
    request(wanted, final = false) {
      queued = wanted;
      transport.wake(final);
    },
    close() {
      closed = true;
      transport.close();
    },
  };
}

function openSocket(source, dequeue, { onImage, onError }, fallBack) {
  let [socket, opening, closed, ready, failures] = [null, false, false, false, 0];
  let [pending, sentAt, timeout] = [null, 0, 0];

  const connect = async () => {
    opening = true;
    const encoded = await base64(source.blob);
    opening = false;
    if (closed) return;
    socket = openStream();
    socket.onopen = () => {
      socket.send(JSON.stringify(streamSource(source, encoded)));
      send(pending);
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? handleMessage(JSON.parse(data)) : handleImage(data));
    socket.onclose = handleClose;
  };
  const send = (unanswered) => {
    const wanted = dequeue() ?? unanswered;
    if (!wanted) return;
    [pending, sentAt] = [wanted, performance.now()];
    socket.send(JSON.stringify(wanted));
    timeout = setTimeout(() => socket?.close(), TIMEOUT_MS);
  };
  const handleImage = (image) => {
    clearTimeout(timeout);
    const milliseconds = performance.now() - sentAt;
    [pending, failures] = [null, 0];
    onImage(image, milliseconds, "WebSocket");
    send();
  };
  const handleMessage = (message) => {
    if (!message.detail) return void (ready = true);
    if (!pending && ready) return; // closed by the server after a long pause: no request is lost
    clearTimeout(timeout);
    pending = null;
    onError(new Problem(message));
    if (ready) send();
  };
  const handleClose = () => {
    clearTimeout(timeout);
    socket = null;
    if (!ready || (pending && ++failures > 1)) return fallBack(pending);
    ready = false; // reopen a socket that was closed when idle, but not one that never worked
    if (pending) connect();
  };
  connect();
  return {
    wake() {
      if (!socket && !opening) connect();
      else if (socket?.readyState === WebSocket.OPEN && !pending) send();
    },
    close() {
      closed = true;
      clearTimeout(timeout);
      if (!socket) return;
      socket.onclose = socket.onmessage = socket.onopen = null;
      socket.close();
    },
  };
}

function openPost(source, dequeue, { onImage, onError }) {
  let [running, timer] = [null, 0];

  const send = async () => {
    const wanted = dequeue();
    if (!wanted) return;
    const controller = (running = new AbortController());
    const sentAt = performance.now();
    let delay = 0;
    try {
      onImage(await reenact(source, wanted, controller.signal), performance.now() - sentAt, "HTTP");
    } catch (error) {
      if (error.name !== "AbortError") onError(error);
      delay = error.status === 429 || error.status === 503 ? error.retryAfter * 1000 : 0;
    }
    if (running !== controller) return; // a newer request has replaced this one
    running = null;
    timer = setTimeout(send, delay || DEBOUNCE_MS);
  };
  return {
    wake(final) {
      if (final) running?.abort();
      else if (running) return;
      clearTimeout(timer);
      timer = setTimeout(send, final ? 0 : DEBOUNCE_MS);
    },
    close() {
      clearTimeout(timer);
      running?.abort();
    },
  };
}
