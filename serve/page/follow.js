// The photo follows the sliders: through the WebSocket where it works, by POST otherwise. The newest expression wins.

import { express, key, openStream, Problem } from "./api.js";

const PAUSE = 90; // ms in which movements of a slider become one request
const PATIENCE = 20000; // ms after which a silent socket is given up

/**
 * @param {{blob: Blob, box?: number[]}} source
 * @param {{onPicture: (picture: Blob, ms: number, way: string) => void, onProblem: (problem: Error) => void}} listener
 */
export function follow(source, listener) {
  let [way, wanted, closed] = [null, null, false];
  const next = () => {
    const expression = wanted;
    wanted = null;
    return expression;
  };
  const use = (open) => {
    way?.close();
    way = open(source, next, listener, (unanswered) => {
      if (closed) return;
      wanted ??= unanswered;
      use(byPost);
      if (wanted) way.wake(true);
    });
  };
  use(byStream);
  return {
    /** Asks for the photo with this expression; `final` when no other is about to follow. */
    show(expression, final = false) {
      wanted = expression;
      way.wake(final);
    },
    close() {
      closed = true;
      way.close();
    },
  };
}

function byStream(source, next, { onPicture, onProblem }, giveUp) {
  let [socket, opening, closed, greeted, losses] = [null, false, false, false, 0];
  let [pending, asked, watch] = [null, 0, 0];

  const connect = async () => {
    opening = true;
    const encoded = await base64(source.blob);
    opening = false;
    if (closed) return;
    socket = openStream();
    socket.onopen = () => {
      socket.send(JSON.stringify({ source: encoded, ...(source.box && { box: source.box }), ...(key() && { key: key() }) }));
      ask(pending);
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : receive(data));
    socket.onclose = lose;
  };
  const ask = (again) => {
    const expression = next() ?? again;
    if (!expression) return;
    [pending, asked] = [expression, performance.now()];
    socket.send(JSON.stringify({ expression }));
    watch = setTimeout(() => socket?.close(), PATIENCE);
  };
  const receive = (picture) => {
    clearTimeout(watch);
    const waited = performance.now() - asked;
    [pending, losses] = [null, 0];
    onPicture(picture, waited, "stream");
    ask();
  };
  const hear = (message) => {
    if (!message.detail) return void (greeted = true);
    if (!pending && greeted) return; // closing after a long pause: nothing is lost
    clearTimeout(watch);
    pending = null;
    onProblem(new Problem(message));
    if (greeted) ask();
  };
  const lose = () => {
    clearTimeout(watch);
    socket = null;
    if (!greeted || (pending && ++losses > 1)) return giveUp(pending);
    greeted = false; // an idle socket that was closed is opened again; one that never works is not
    if (pending) connect();
  };
  connect();
  return {
    wake() {
      if (!socket && !opening) connect();
      else if (socket?.readyState === WebSocket.OPEN && !pending) ask();
    },
    close() {
      closed = true;
      clearTimeout(watch);
      if (!socket) return;
      socket.onclose = socket.onmessage = socket.onopen = null;
      socket.close();
    },
  };
}

function byPost(source, next, { onPicture, onProblem }) {
  let [running, timer] = [null, 0];

  const ask = async () => {
    const expression = next();
    if (!expression) return;
    const mine = (running = new AbortController());
    const asked = performance.now();
    let wait = 0;
    try {
      onPicture(await express(source, expression, mine.signal), performance.now() - asked, "requests");
    } catch (problem) {
      if (problem.name !== "AbortError") onProblem(problem);
      wait = problem.status === 429 || problem.status === 503 ? problem.retryAfter * 1000 : 0;
    }
    if (running !== mine) return; // a newer one has taken over
    running = null;
    timer = setTimeout(ask, wait || PAUSE);
  };
  return {
    wake(final) {
      if (final) running?.abort();
      else if (running) return;
      clearTimeout(timer);
      timer = setTimeout(ask, final ? 0 : PAUSE);
    },
    close() {
      clearTimeout(timer);
      running?.abort();
    },
  };
}

async function base64(blob) {
  const address = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
  return address.slice(address.indexOf(",") + 1);
}
