// The page: fits the face of a photo, and updates mesh and photo when the sliders move.

import { initAnimation } from "./acting.js";
import { describeModel, fetchMesh, getKey, reconstruct, sentence, storeKey } from "./api.js";
import { complete, NAMES, PRESETS } from "./blendshapes.js";
import { initControls } from "./control.js";
import { initDownloads } from "./downloads.js";
import { showFaces } from "./faces.js";
import { createPreview } from "./follow.js";
import { initLive } from "./live.js";
import { createBoxEditor } from "./marker.js";
import { isVideo, readPhoto } from "./photo.js";
import { createSliders } from "./sliders.js";
import { createStage } from "./stage.js";
import { initThemes } from "./theme.js";
import { initViews } from "./views.js";

const $ = (id) => document.getElementById(id);
const SAMPLE = { url: "sample.jpg", box: [153, 158, 510, 516] }; // a rendered face, not a real person

let model = null; // the server's description
let photo = null; // of `readPhoto`
let face = null; // {photo, source, fit, preview} once the photo is fitted; {driving} while a driving photo's result is shown
let meshView = null;
let loading = new AbortController();

const stage = createStage({ view: $("view"), image: $("image"), landmarks: $("landmarks"), mesh: $("mesh"), provenance: $("provenance") });
const boxEditor = createBoxEditor({ rectangle: $("face-box"), area: $("box-editor") });
const views = initViews({ stage, face: () => face, mesh: () => meshView });
const sliders = createSliders($("groups"), $("link-sides"), (expression, final) => {
  animation.pause();
  showExpression(expression, final);
});
const controls = initControls((final) => {
  animation.pause();
  showExpression(sliders.get(), final);
});
const animation = initAnimation({
  face: () => face, model: () => model, controls, sliders: () => sliders, setStatus, showError, setBusy, showDriven,
  applyExpression(expression, final) {
    sliders.set(expression);
    if (face) showExpression(expression, final);
    else live.showExpression(expression);
  },
});
const live = initLive({
  face: () => face, controls, setStatus, showError,
  onStart: () => animation.pause(),
  onExpression: sliders.set,
  onReplay: animation.replay,
  onPicture(image) {
    views.showPhoto();
    stage.showImage(image);
  },
});

/** Updates the mesh immediately, and the photo when the server responds. */
function showExpression(expression, final) {
  views.showPhoto();
  face.driving = null;
  meshView?.setPose(turned(face.fit));
  meshView?.setExpression(expression);
  face.preview.request({ expression, ...controls.turn() }, final);
}

/** The pose of a face with the turn of the sliders; as `turned` in `jr2net/inference/control.py`. */
function turned({ rotation, translation }) {
  const { pitch, yaw, roll } = controls.turn();
  return { rotation: [pitch, yaw, roll].map((angle, axis) => rotation[axis] + (angle * Math.PI) / 180), translation };
}

/** Shows the image that a driving photo made, and its expression and pose in sliders and mesh. */
async function showDriven(image, driving) {
  face.driving = driving;
  sliders.set(driving.expression);
  meshView?.setExpression(driving.expression);
  meshView?.setPose(turned(driving.pose ?? face.fit));
  views.showPhoto();
  await stage.showImage(image);
}

/**
 * Loads and fits a new photo; without `file`, fits the current one again. `box`: of the face, if the user marked it;
 * `index`: of a detected face, the largest first.
 */
async function loadPhoto(file, box, index = 0) {
  loading.abort();
  const { signal } = (loading = new AbortController());
  animation.close();
  face?.preview.close();
  face = null;
  live.photoChanged();
  showBoxEditor(false);
  setEnabled(false);
  showNotes([]);
  hideError();
  setBusy(true);
  try {
    if (file) {
      photo = null;
      setStatus(`Reading ${file.name ?? "the photo"} …`);
      photo = await readPhoto(file, signal);
    }
    if (signal.aborted) return;
    showWelcome(false);
    stage.setPhoto(photo);
    $("mesh").hidden = true;
    await modelLoaded;
    if (!box && model?.detector === false) {
      setStatus("This server has no face detector. Mark the face in the photo.");
      return showBoxEditor(true);
    }
    setStatus("Fitting the face …");
    const source = { blob: photo.working, box, face: index };
    const [fit, glb] = await Promise.all([reconstruct(source, signal), fetchMesh(source, "glb", signal)]);
    fit.expression = complete(fit.expression);
    signal.throwIfAborted();
    face = { photo, source, fit, preview: createPreview(source, { onImage: showGenerated, onError: showError }) };
    sliders.setFitted(fit.expression);
    sliders.set(fit.expression);
    controls.reset();
    showFacts(fit);
    showNotes([...(photo.notes ?? []), ...fit.notes]);
    setEnabled(true);
    live.photoChanged();
    animation.photoChanged();
    await showFaces($("faces"), photo.working, fit.boxes ?? [], index, (chosen) => loadPhoto(null, undefined, chosen));
    await showMesh(glb, fit);
  } catch (error) {
    if (error.name === "AbortError") return;
    showError(error);
    setStatus("No face was fitted.");
    if (error.status === 422 && photo) showBoxEditor(true);
    else showWelcome(true);
  } finally {
    if (!signal.aborted) setBusy(false);
  }
}

async function showMesh(glb, fit) {
  views.reset(fit);
  try {
    meshView ??= (await import("./mesh.js")).createMeshView($("mesh"));
    await meshView.load(glb, fit);
    stage.onLayout(meshView.setFrame);
    views.presentMesh();
    views.setMeshEnabled(true);
    const others = fit.faces_found > 1 ? ` The photo shows ${fit.faces_found} faces; choose another one below it.` : "";
    setStatus(`Face fitted. Drag the mesh to rotate it. Move a slider to change the expression.${others}`);
  } catch (error) {
    console.warn(error);
    views.setLayer("photo");
    views.setMeshEnabled(false);
    setStatus("Face fitted. The 3D view needs WebGL and the bundled library (make page); everything else works.");
  }
}

async function showGenerated(image, milliseconds, transport) {
  hideError();
  await stage.showImage(image);
  $("response-time").textContent = `${Math.round(milliseconds)} ms (${transport})`;
  if (!animation.isPlaying()) setStatus("The photo shows the expression of the sliders.");
}

function showFacts(fit) {
  const [pitch, yaw, roll] = fit.rotation.map((angle) => `${Math.round((angle * 180) / Math.PI)}°`);
  const facts = [
    ["Head pose", `pitch ${pitch}, yaw ${yaw}, roll ${roll}`], ["Confidence", fit.confidence.toFixed(2)],
    ["Model", fit.model.slice(0, 10)],
    ["Response time", "—", "response-time"],
  ];
  $("facts").replaceChildren(...facts.map(([term, value, id]) => {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: term }));
    pair.append(Object.assign(document.createElement("dd"), { textContent: value, ...(id && { id }) }));
    return pair;
  }));
}

/** What of the photo was left out or assumed, and a confidence that is low. */
function showNotes(notes) {
  $("photo-notes").textContent = notes.map(sentence).join(" ");
  $("photo-notes").hidden = !notes.length;
}

function setEnabled(enabled) {
  sliders.setEnabled(enabled);
  controls.setEnabled(enabled);
  animation.setEnabled(enabled);
  for (const button of [...$("downloads").children, ...$("presets").children]) button.disabled = !enabled;
  for (const id of ["view-controls", "facts", "downloads"]) $(id).hidden = !enabled;
}

function showWelcome(visible) {
  $("welcome").hidden = !visible;
  $("view").hidden = visible;
}

function setStatus(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function setBusy(on) {
  $("spinner").hidden = !on;
  document.querySelector("main").setAttribute("aria-busy", on);
}

function showError(error) {
  $("problem-detail").textContent = error.message;
  $("problem").hidden = false;
  if (error.status === 401) openKeyDialog();
}

function hideError() {
  $("problem").hidden = true;
}

/** Opens or closes the editor in which the user marks the face. */
function showBoxEditor(visible) {
  $("box-controls").hidden = !visible;
  $("view-controls").hidden = visible || !face;
  if (!visible) {
    boxEditor.close();
    if (face) stage.zoom(face.fit.camera, $("zoom").checked);
    return;
  }
  views.setLayer("photo");
  stage.showWholePhoto();
  boxEditor.open(photo, face?.fit.box);
}

function openKeyDialog() {
  $("key-open").hidden = false;
  $("key").value = getKey();
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

function initPhotoInput() {
  const first = (list) => [...(list ?? [])][0];
  const setDragging = (on) => document.body.classList.toggle("dragging", on);
  $("photo").addEventListener("change", ({ target }) => {
    if (target.files.length) loadPhoto(target.files[0]);
    target.value = "";
  });
  $("sample").addEventListener("click", async () => {
    const content = await (await fetch(SAMPLE.url)).blob();
    loadPhoto(new File([content], SAMPLE.url, { type: "image/jpeg" }), SAMPLE.box);
  });
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData?.files);
    if (file?.type.startsWith("image/") || (file && isVideo(file))) loadPhoto(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    setDragging(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? setDragging(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    setDragging(false);
    const file = first(event.dataTransfer.files);
    if (!file) return;
    if (face && !file.type.startsWith("image/")) animation.drive(file);
    else loadPhoto(file);
  });
  $("mark-face").addEventListener("click", () => showBoxEditor(true));
  $("box-cancel").addEventListener("click", () => {
    showBoxEditor(false);
    if (!face) showWelcome(true);
  });
  $("box-use").addEventListener("click", () => loadPhoto(null, boxEditor.box()));
}

function initPresets() {
  const presetButton = (name, expression) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", () => {
      animation.pause();
      sliders.set(expression());
      showExpression(expression(), true);
    });
    return button;
  };
  const presets = Object.entries(PRESETS).map(([name, expression]) => presetButton(name, () => complete(expression)));
  $("presets").append(presetButton("As fitted", () => face.fit.expression), ...presets);
}

function initKeyDialog() {
  $("key-open").addEventListener("click", openKeyDialog);
  $("key-dialog").addEventListener("close", () => {
    const choice = $("key-dialog").returnValue;
    if (choice === "save") storeKey($("key").value.trim());
    if (choice === "forget") storeKey("");
    if (choice === "save") hideError();
  });
}

async function loadModel() {
  model = await describeModel().catch(() => null);
  if (!model) return;
  $("key-open").hidden = model.authentication === "off";
  const unknown = model.expression_names?.filter((name) => !NAMES.includes(name)) ?? [];
  if (unknown.length) showError(new Error(`This page has no slider for ${unknown.join(", ")}: it is older than the server.`));
}

initThemes($("theme"));
initPhotoInput();
initPresets();
initDownloads({ face: () => face, sliders, controls, showError });
initKeyDialog();
$("problem-close").addEventListener("click", hideError);
setEnabled(false);
const modelLoaded = loadModel();
