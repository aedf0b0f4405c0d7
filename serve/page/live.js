// The camera, live: its frames go to the server one at a time; what it reads of the face is drawn over the picture, moves the
// sliders, can be recorded, and drives the photo.

import { base64, fetchMesh, getKey, openStream, Problem, streamSource } from "./api.js";
import { complete, NAMES } from "./blendshapes.js";
import { writeCapture } from "./capture.js";
import { initTracking } from "./track.js";

const $ = (id) => document.getElementById(id);
const SIDE = 480; // pixels, the longer one of the frames that are sent
const QUALITY = 0.8;
const RECORDED_FPS = 30;
const MEDIA_TYPES = { csv: "text/csv", json: "application/json", glb: "model/gltf-binary" };
const REASONS = {
  NotAllowedError: "The camera was not allowed. Allow it in the browser's settings for this page, then start it again.",
  NotFoundError: "No camera was found. Connect one, then start it again.",
  NotReadableError: "The camera gives no picture; another program may be using it. Close that, then start it again.",
};

/** `onExpression` is called with the 51 values of every frame, `onPicture` with the photo as the camera drives it. */
export function initLive({ face, controls, onExpression, onPicture, onReplay, onStart, setStatus, showError }) {
  const [video, canvas, still] = [$("live-video"), $("live-mesh"), document.createElement("canvas")];
  let [camera, socket, mesh, meshBlob, starting] = [null, null, null, null, false];
  let [sent, sentControls, driving] = [null, "", false];
  let [samples, take, takeUrls, startedAt] = [null, null, [], 0];
  let pace = []; // when the latest frames were answered

  const start = async () => {
    if (!window.isSecureContext || !navigator.mediaDevices) {
      throw new Error("Browsers give a camera only to pages that come encrypted (https) or from this machine (localhost). Open this page so.");
    }
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } }, audio: false });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera cannot be used: ${error.message}`);
    }
    camera.getVideoTracks()[0].addEventListener("ended", () => stop("The camera has ended."));
    [video.srcObject, mesh, meshBlob, pace] = [camera, null, null, []];
    await video.play();
    onStart();
    show(true);
    setStatus("The camera runs. Nothing of it is stored.");
    await connect();
  };
  const stop = (why = "The camera is off.") => {
    if (!camera) return;
    if (samples) endRecording();
    disconnect();
    for (const track of camera.getTracks()) track.stop();
    camera = video.srcObject = null;
    show(false);
    setStatus(why);
  };
  const show = (on) => {
    $("live-view").hidden = !on;
    video.hidden = !on;
    $("camera").textContent = on ? "Stop the camera" : "Start the camera";
    $("camera").classList.toggle("primary", !on);
    $("record").hidden = !on;
    $("live-facts").hidden = !on;
    $("live-facts").textContent = "Waiting for the first answer …";
    update();
  };
  const update = () => {
    $("live-drive-control").hidden = !camera || !face();
  };

  const connect = async () => {
    disconnect();
    const current = face();
    driving = Boolean(current && $("live-drive").checked);
    const source = driving ? streamSource(current.source, await base64(current.source.blob)) : { ...(getKey() && { key: getKey() }) };
    if (!camera) return;
    const opened = (socket = openStream());
    sentControls = JSON.stringify(driving ? liveControls() : {});
    opened.onopen = () => opened.send(JSON.stringify({ camera: true, ...source, ...JSON.parse(sentControls) }));
    opened.onmessage = ({ data }) => opened === socket && (typeof data === "string" ? handle(JSON.parse(data)) : driving && onPicture(data));
    opened.onclose = () => opened === socket && stop("The camera is off: the connection to the server has ended.");
  };
  const disconnect = () => {
    const old = socket;
    [socket, sent] = [null, null];
    old?.close();
  };
  const handle = (message) => {
    if (message.detail && message.frame === undefined) {
      showError(new Problem(message));
      return stop();
    }
    if (!message.ready) answer(message);
    if (camera) send();
  };
  /** Sends the newest frame; the next one follows its answer, so that none waits. */
  const send = async () => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    const scale = Math.min(1, SIDE / Math.max(width, height, 1));
    Object.assign(still, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
    still.getContext("2d").drawImage(video, 0, 0, still.width, still.height);
    const at = performance.now();
    const [blob, to] = [await new Promise((resolve) => still.toBlob(resolve, "image/jpeg", QUALITY)), socket];
    if (to?.readyState !== WebSocket.OPEN) return;
    const wanted = JSON.stringify(driving ? liveControls() : {});
    if (wanted !== sentControls) to.send((sentControls = wanted));
    sent = { blob, at };
    to.send(blob);
  };
  const answer = (read) => {
    const now = performance.now();
    pace = [...pace.filter((at) => now - at < 2000), now];
    const rate = pace.length > 1 ? ((pace.length - 1) * 1000) / (now - pace[0]) : 0;
    const seen = read.expression ? "" : " · no face is seen";
    $("live-facts").textContent = `${Math.round(now - sent.at)} ms from frame to answer · ${rate.toFixed(0)} frames/s${seen}`;
    if (read.notes) setStatus(`The camera runs: ${read.notes.join("; ")}. Nothing of it is stored.`);
    if (samples) record(sent.at, read);
    canvas.hidden = !read.expression || !mesh;
    if (!read.expression) return;
    const expression = complete(read.expression);
    onExpression(expression);
    if (mesh) {
      mesh.setPose(read);
      mesh.setExpression(expression);
      mesh.setFrame({ left: 0, top: 0, width: read.width, height: read.height }, canvas.clientWidth, canvas.clientHeight);
    } else if (!meshBlob) loadMesh((meshBlob = sent.blob), { ...read, expression });
  };
  const loadMesh = async (blob, read) => {
    try {
      const glb = await fetchMesh({ blob, face: 0 }, "glb");
      canvas.meshView ??= (await import("./mesh.js")).createMeshView(canvas);
      await canvas.meshView.load(glb, read);
      if (meshBlob === blob) mesh = canvas.meshView;
    } catch (error) {
      console.warn(error);
      setStatus("The camera runs without the mesh, which needs WebGL and the bundled library (make page).");
    }
  };

  const record = (at, { expression, rotation, eyes }) => {
    startedAt ||= at;
    samples.push({ seconds: (at - startedAt) / 1000, expression, angles: expression && anglesOf(rotation, eyes) });
    $("record").textContent = `Stop recording (${samples.at(-1).seconds.toFixed(1)} s)`;
  };
  const endRecording = () => {
    const recorded = samples;
    samples = null;
    $("record").textContent = "Record";
    $("record").setAttribute("aria-pressed", false);
    if (!recorded.some((sample) => sample.expression)) return setStatus("The recording shows no face and was left out.");
    const stamp = new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
    const csv = writeCapture({ name: `camera-${stamp}`, fps: RECORDED_FPS, ...resample(recorded, RECORDED_FPS) });
    offer({ csv }, csv.name.slice(0, -4), `${recorded.at(-1).seconds.toFixed(1)} s recorded, in this page only`);
  };
  /** Makes the files of a take, by their kind, ready to be replayed and downloaded. */
  const offer = (files, name, facts) => {
    for (const url of takeUrls) URL.revokeObjectURL(url);
    takeUrls = [];
    for (const kind of ["csv", "json", "glb"]) {
      const link = $(kind === "csv" ? "take-download" : `take-${kind}`);
      link.hidden = !files[kind];
      if (link.hidden) continue;
      takeUrls.push((link.href = URL.createObjectURL(new Blob([files[kind]], { type: MEDIA_TYPES[kind] }))));
      link.download = `${name}.${kind}`;
    }
    take = new File([files.csv], `${name}.csv`, { type: MEDIA_TYPES.csv });
    $("take-facts").textContent = facts;
    $("take").hidden = false;
  };
  const liveControls = () => {
    const { reference, smooth, ...fields } = controls.fields({ film: true });
    return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, { true: true, false: false }[value] ?? value]));
  };

  $("camera").addEventListener("click", async () => {
    if (camera) return stop();
    if (starting) return;
    starting = true;
    await start().catch(showError);
    starting = false;
  });
  $("record").addEventListener("click", () => {
    if (samples) return endRecording();
    [samples, startedAt] = [[], 0];
    $("record").setAttribute("aria-pressed", true);
    $("record").textContent = "Stop recording";
  });
  initTracking({ offer, showError });
  $("live-drive").addEventListener("change", () => camera && connect());
  $("take-play").addEventListener("click", () => {
    stop();
    onReplay(take);
  });

  return {
    stop,
    /** To be called when there is another photo, or none. */
    photoChanged() {
      update();
      if (camera && (driving || $("live-drive").checked)) connect();
    },
    isDriving: () => Boolean(camera && driving),
    /** Shows an expression on the camera's mesh where no photo is there to show it. */
    showExpression(expression) {
      if (!mesh || camera) return;
      $("live-view").hidden = canvas.hidden = false;
      mesh.setExpression(expression);
    },
  };
}

/** The angles of a Live Link Face capture, in its signs, of our rotation and the eyes' yaw and pitch. */
const anglesOf = ([pitch, yaw, roll], eyes) => [-yaw, pitch, -roll, ...(eyes ? [...eyes.left, 0, ...eyes.right, 0] : [])];

/** Samples at uneven instants as {frames, angles} at a constant rate, between two of them interpolated; null: no face. */
export function resample(samples, fps) {
  const [frames, angles] = [[], []];
  const count = Math.floor(samples.at(-1).seconds * fps + 1e-6) + 1;
  for (let [number, i] = [0, 0]; number < count; number++) {
    const at = number / fps;
    while (i + 1 < samples.length && samples[i + 1].seconds <= at) i++;
    const [before, after] = [samples[i], samples[i + 1] ?? samples[i]];
    const weight = after === before ? 0 : (at - before.seconds) / (after.seconds - before.seconds);
    const mix = (a, b) => a + weight * (b - a);
    const next = after.expression ? after : before;
    frames.push(before.expression && Object.fromEntries(NAMES.map((name) => [name, mix(before.expression[name], next.expression[name])])));
    angles.push(before.expression && before.angles.map((angle, axis) => mix(angle, next.angles[axis])));
  }
  return { frames, angles };
}
