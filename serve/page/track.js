// A video that is tracked: whose face, at which rest, how far it is; its files are offered as a take.

import { fetchPicture, sentence, trackVideo } from "./api.js";
import { createMoment } from "./control.js";
import { showFaces } from "./faces.js";
import { createProgress } from "./progress.js";

const $ = (id) => document.getElementById(id);

/** `offer` is called with the files of a track by their kind, their name and what is to be said of them. */
export function initTracking({ offer, showError }) {
  const progress = createProgress($("track-progress"));
  let tracking = null; // of the request that runs
  let chosen = null; // {file, face}, the last video and which of its faces

  const track = async (file, face) => {
    tracking?.abort();
    const controller = (tracking = new AbortController());
    chosen = { file, face };
    let frames = 0;
    progress.start(`Sending ${file.name} …`);
    const duration = await durationOf(file);
    const onFrame = ({ seconds }) => progress.show(++frames, duration && seconds / duration);
    try {
      const { notes, files } = await trackVideo(file, { face, neutral: rest.value() }, onFrame, controller.signal);
      if (!files.csv) throw new Error(`There is no track of ${file.name}: ${notes.join("; ")}`);
      offer(files, file.name.replace(/\.[^.]*$/, ""), [`${frames} frames of ${file.name}`, ...notes].map(sentence).join(" "));
    } catch (error) {
      if (error.name !== "AbortError") showError(error);
    }
    if (tracking === controller) progress.end();
  };
  /** Offers the faces of the video's first frame that shows one, while the largest is tracked. */
  const offerFaces = async (file) => {
    $("track-faces").hidden = true;
    const picture = await fetchPicture(file).catch(() => null); // what is wrong with it, the track says
    if (!picture || chosen.file !== file) return;
    await showFaces($("track-faces"), picture.blob, picture.boxes, 0, (face) => track(file, face));
  };
  const rest = createMoment("neutral", () => chosen && track(chosen.file, chosen.face));

  $("track").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (file) track(file, 0);
    if (file) offerFaces(file);
    target.value = "";
  });
  $("track-cancel").addEventListener("click", () => tracking?.abort());
}

/** The seconds of a video; 0 where the browser cannot say. */
function durationOf(file) {
  const probe = Object.assign(document.createElement("video"), { preload: "metadata", src: URL.createObjectURL(file) });
  return new Promise((resolve) => {
    probe.onloadedmetadata = () => resolve(Number.isFinite(probe.duration) ? probe.duration : 0);
    probe.onerror = () => resolve(0);
  }).finally(() => URL.revokeObjectURL(probe.src));
}
