// Animation: captures play in the page frame by frame; videos, and captures on request, are rendered by the server.

import { reenactWithPhoto, renderVideo } from "./api.js";
import { parseCapture, writeCapture } from "./capture.js";
import { createDemo } from "./demonstration.js";
import { createPlayer } from "./player.js";

const $ = (id) => document.getElementById(id);

const DEFAULT_LIMIT = 60; // seconds of a rendered capture, if the server does not state its limit

/** `model` returns the server's description, or null; `applyExpression` updates sliders, mesh and photo. */
export function initAnimation({ face, model, stage, setStatus, showError, setBusy, applyExpression }) {
  let [pending, videoUrl] = [null, ""];
  const player = createPlayer(
    {
      container: $("player"), captureName: $("capture-name"), captureTime: $("capture-time"), playButton: $("play"), seek: $("seek"),
      loop: $("loop"),
    },
    applyExpression,
  );
  const switches = () => ({ pose: String($("pose").checked), light: String($("light").checked) });
  const smooth = () => ({ smooth: String($("smooth").checked) });

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
  const showVideo = async (driving, options) => {
    player.pause();
    const video = await send(`Rendering ${driving.name} …`, (signal) => renderVideo(face().source, driving, options, signal));
    if (!video || !face()) return;
    URL.revokeObjectURL(videoUrl);
    videoUrl = URL.createObjectURL(video);
    $("video").src = $("video-download").href = videoUrl;
    $("video-download").download = `${face().photo.name}-animated.mp4`;
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
    setStatus(`Playing ${capture.name}.`);
    player.load(capture);
  };
  const drive = async (file) => {
    if (!face()) return setStatus("Choose a photo first.");
    try {
      if (/\.csv$/i.test(file.name) || file.type === "text/csv") return play(parseCapture(await file.text(), file.name));
    } catch (error) {
      return showError(error);
    }
    player.close();
    if (!file.type.startsWith("image/")) return showVideo(file, { ...switches(), ...smooth() });
    const image = await send(`Applying the expression of ${file.name} …`, (signal) =>
      reenactWithPhoto(face().source, file, switches(), signal));
    if (!image) return;
    await stage.showImage(image);
    setStatus(`The photo has the expression of ${file.name}.`);
  };

  $("driving").addEventListener("change", ({ target }) => {
    if (target.files.length) drive(target.files[0]);
    target.value = "";
  });
  $("demo").addEventListener("click", () => play(createDemo()));
  $("render").addEventListener("click", () => showVideo(writeCapture(renderedPart()), smooth()));
  $("cancel").addEventListener("click", () => pending?.abort());

  return {
    drive,
    pause: player.pause,
    isPlaying: player.isPlaying,
    close() {
      pending?.abort();
      player.close();
      $("result").hidden = true;
    },
    setEnabled(enabled) {
      for (const id of ["driving", "demo", "pose", "light", "smooth"]) $(id).disabled = !enabled;
    },
  };
}
