// Animation: captures play in the page frame by frame; videos, and captures on request, are rendered by the server.

import { fetchPicture, readCapture, reconstruct, reenactWithPhoto, renderVideo, sentence } from "./api.js";
import { complete, NAMES } from "./blendshapes.js";
import { writeCapture } from "./capture.js";
import { createDemo } from "./demonstration.js";
import { drive as driveFace, referenceFrame } from "./control.js";
import { showFaces } from "./faces.js";
import { createPlayer } from "./player.js";
import { createProgress } from "./progress.js";

const $ = (id) => document.getElementById(id);

const CAPTURE = /\.(csv|tsv|json|jsonl|txt)$/i;
const DEFAULT_LIMIT = 60; // seconds of a rendered capture, if the server does not state its limit

/**
 * `model` returns the server's description, or null; `applyExpression` updates sliders, mesh and photo; `showDriven` shows
 * an image that a driving photo made, with the driving face in sliders and mesh.
 */
export function initAnimation({ face, model, controls, sliders, setStatus, showError, setBusy, applyExpression, showDriven }) {
  let [pending, videoUrl, references] = [null, "", {}];
  let shown = null; // the driving file whose faces can be chosen
  const progress = createProgress($("film-progress"));
  const player = createPlayer(
    {
      container: $("player"), captureName: $("capture-name"), captureTime: $("capture-time"), playButton: $("play"), seek: $("seek"),
      loop: $("loop"),
    },
    (frame, final) => applyExpression(face() ? driveFace(face().fit.expression, frame, controls.expression(), reference()) : frame, final),
  );
  /** The capture's frame that its motion refers to. */
  const reference = () => {
    const [{ frames, fps }, wanted] = [player.capture(), controls.reference()];
    if (references.frames !== frames || references.wanted !== wanted) {
      references = { frames, wanted, frame: frames[referenceFrame(frames, wanted, fps)] };
    }
    return references.frame;
  };

  /** Sends a request that the user can cancel. Returns null if it fails. */
  const send = async (status, request) => {
    pending?.abort();
    const controller = (pending = new AbortController());
    $("problem").hidden = true;
    $("cancel").hidden = false;
    setBusy(true);
    setStatus(status);
    try {
      return await request(controller.signal);
    } catch (error) {
      if (error.name === "AbortError") setStatus("Cancelled.");
      else {
        showError(error);
        setStatus("The photo was not animated.");
      }
      return null;
    } finally {
      if (pending === controller) {
        pending = null;
        $("cancel").hidden = true;
        setBusy(false);
      }
    }
  };
  /** Renders the photo, or every frame of the source video, with the fields of the request. */
  const showVideo = async (name, fields) => {
    if (!face()) return setStatus("Choose a photo first.");
    player.pause();
    progress.start(`Sending ${name} and looking for the face …`);
    const onFrames = (frames, count) => progress.show(frames, count && frames / count, count);
    const film = await send(`Rendering ${name} …`, (signal) => renderVideo(filmSource(face()), fields, onFrames, signal));
    if (!pending) progress.end();
    if (!film || !face()) return;
    const { video, notes } = film;
    URL.revokeObjectURL(videoUrl);
    videoUrl = URL.createObjectURL(video);
    $("video").src = $("video-download").href = videoUrl;
    $("video-download").download = `${face().photo.name}-animated.mp4`;
    $("film-notes").textContent = notes.map(sentence).join(" ");
    $("film-notes").hidden = !notes.length;
    $("result").hidden = false;
    $("video").play().catch(() => {}); // some browsers start it only after a click
    $("result").scrollIntoView({ block: "nearest" });
    setStatus("The video is ready.");
  };
  /** The capture, or if it exceeds the server's limit, the part that starts at the current frame. */
  const renderedPart = () => {
    const { name, fps, frames } = player.capture();
    const maxFrames = Math.floor((model()?.limits?.video_seconds ?? DEFAULT_LIMIT) * fps);
    const first = frames.length > maxFrames ? player.frame() : 0;
    return { name, fps, frames: frames.slice(first, first + maxFrames) };
  };
  const play = (capture) => {
    $("result").hidden = true;
    $("capture-notes").textContent = (capture.notes ?? []).map(sentence).join(" ");
    $("capture-notes").hidden = !capture.notes?.length;
    setStatus(`Playing ${capture.name}.`);
    player.load(capture);
  };
  const driveWithPhoto = async (file, index) => {
    const [source, options] = [face().source, { ...controls.fields({ film: false }), ...drivingFace(index) }];
    const answers = await send(`Applying the expression of ${file.name} …`, async (signal) =>
      [await reenactWithPhoto(source, file, options, signal), await reconstruct({ blob: file, face: index }, signal)]);
    if (!answers || face()?.source !== source) return;
    const [image, { expression, rotation, translation, notes, boxes }] = answers;
    await offerFaces(file, async () => ({ blob: file, boxes }));
    const pose = $("pose").checked ? { rotation, translation } : null;
    const result = driveFace(face().fit.expression, complete(expression), { ...controls.expression(), relative: false });
    await showDriven(image, { file, options, expression: result, pose });
    const what = ["expression", ...(pose ? ["head pose"] : []), ...(options.light === "true" ? ["light"] : [])];
    const list = what.join(", ").replace(/, ([^,]*)$/, " and $1");
    const next = what.length > 1 ? " Moving a slider keeps the expression only." : "";
    const doubts = notes.map((note) => ` ${sentence(`${file.name}: ${note}`)}`).join("");
    setStatus(`The photo has the ${list} of ${file.name}; the sliders show it.${next}${doubts}`);
  };
  /** Offers the faces of a driving file, unless they are shown; `picture` returns an image and their boxes in it. */
  const offerFaces = async (file, picture) => {
    if (shown === file) return;
    shown = file;
    const { blob, boxes } = await picture().catch(() => ({ boxes: [] })); // what is wrong with it, the film says
    if (shown !== file) return;
    const show = (image) => showFaces($("driving-faces"), image, boxes, 0, (index) => drive(file, index));
    const showDecoded = async () => show((await fetchPicture(file)).blob); // of what browsers do not show
    await show(blob).catch(showDecoded).catch(console.warn);
  };
  const forgetFaces = () => {
    shown = null;
    $("driving-faces").hidden = true;
  };
  /** `index`: of the driving face, the largest being 0. */
  const drive = async (file, index = 0) => {
    if (!face()) return setStatus("Choose a photo first.");
    player.close();
    if (shown !== file) forgetFaces();
    if (file.type.startsWith("image/")) return driveWithPhoto(file, index);
    if (!CAPTURE.test(file.name) && !["text/csv", "application/json"].includes(file.type)) {
      offerFaces(file, () => fetchPicture(file));
      return showVideo(file.name, { driving: file, ...controls.fields({ film: true }), ...drivingFace(index) });
    }
    const capture = await readFile(file);
    if (capture && face()) play(capture);
  };
  const readFile = (file) => send(`Reading ${file.name} …`, (signal) => readCapture(file, signal));

  $("driving").addEventListener("change", ({ target }) => {
    if (target.files.length) drive(target.files[0]);
    target.value = "";
  });
  $("demo").addEventListener("click", () => play(createDemo()));
  $("render").addEventListener("click", () => {
    const driving = writeCapture(renderedPart());
    showVideo(driving.name, { driving, ...controls.fields({ film: true, capture: true }) });
  });
  $("act").addEventListener("click", () => {
    const fields = changeOf(face().fit.expression, sliders().get(), controls.turn());
    if (!fields) return setStatus("Move a slider or turn the head first; every frame then changes as much.");
    showVideo(face().photo.video.name, fields);
  });
  $("cancel").addEventListener("click", () => pending?.abort());

  return {
    drive,
    /** Plays a capture, on the photo if there is one. */
    async replay(file) {
      const capture = await readFile(file);
      if (capture) play(capture);
    },
    /** To be called when there is another photo. */
    photoChanged() {
      const { video } = face().photo;
      $("source-video").hidden = !video;
      $("source-name").textContent = video?.name ?? "";
    },
    pause: player.pause,
    isPlaying: player.isPlaying,
    close() {
      pending?.abort();
      player.close();
      forgetFaces();
      $("result").hidden = $("source-video").hidden = true;
    },
    setEnabled(enabled) {
      for (const id of ["driving", "demo"]) $(id).disabled = !enabled;
    },
  };
}

/** What a film is made of: the photo, or the video that it is a frame of; the box is in that video's pixels. */
function filmSource({ photo, source }) {
  if (!photo.video) return source;
  return { blob: photo.video, face: source.face, box: source.box?.map((side) => Math.round(side / photo.scale)) };
}

const drivingFace = (index) => (index ? { driving_face: String(index) } : {});

/** The form fields that change every frame of a video as the sliders change the fitted face; null: they do not. */
function changeOf(fitted, wanted, turn) {
  const change = NAMES.map((name) => [name, wanted[name] - fitted[name]]).filter(([, by]) => Math.abs(by) > 1e-3);
  if (!change.length && !Object.values(turn).some(Boolean)) return null;
  const expression = change.length ? { expression: JSON.stringify(Object.fromEntries(change)), relative: "true" } : {};
  return { ...expression, ...Object.fromEntries(Object.entries(turn).map(([name, angle]) => [name, String(angle)])) };
}
