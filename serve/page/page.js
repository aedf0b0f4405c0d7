// The page: a photo comes in, its face is fitted, and what the sliders say goes to the mesh and to the photo.

import { offerActing } from "./acting.js";
import { describeModel, express, keepKey, key, mesh, Problem, reconstruct } from "./api.js";
import { complete, NAMES, PRESETS } from "./blendshapes.js";
import { save } from "./download.js";
import { follow } from "./follow.js";
import { readPhoto } from "./photo.js";
import { buildSliders } from "./sliders.js";
import { openMarker } from "./marker.js";
import { openStage } from "./stage.js";
import { offerThemes } from "./theme.js";

const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

let photo = null; // as `readPhoto` gives it
let face = null; // {photo, source, fit, follower}: what the page is about, once the photo is fitted
let meshView = null;
let loading = new AbortController();

const stage = openStage({ view: $("view"), picture: $("picture"), landmarks: $("landmarks"), mesh: $("mesh"), provenance: $("provenance") });
const marker = openMarker({ marker: $("marker"), area: $("marking") });
const sliders = buildSliders($("groups"), $("together"), (expression, final) => {
  acting.pause();
  move(expression, final);
});
const acting = offerActing({
  face: () => face, stage, say, complain, busy,
  move(expression, final) {
    sliders.set(expression);
    move(expression, final);
  },
});

/** The mesh at once, the photo as soon as the server has it. */
function move(expression, final) {
  if ($("view").dataset.layer === "both" && !$("layers").dataset.chosen) chooseLayer("photo");
  meshView?.express(expression);
  face.follower.show(expression, final);
  uncompare();
}

/** Takes a new photo, or the one that is there with a box around the face. */
async function takePhoto(given, box) {
  loading.abort();
  const { signal } = (loading = new AbortController());
  acting.close();
  offerMarking(false);
  face?.follower.close();
  face = null;
  ready(false);
  hush();
  busy(true);
  try {
    if (given instanceof Blob) photo = await readPhoto(given);
    if (signal.aborted) return;
    $("welcome").hidden = true;
    stage.setPhoto(photo);
    $("mesh").hidden = true;
    say("Fitting the face …");
    const source = { blob: photo.working, box };
    const [fit, glb] = await Promise.all([reconstruct(source, signal), mesh(source, "glb", signal)]);
    fit.expression = complete(fit.expression);
    face = { photo, source, fit, follower: follow(source, { onPicture, onProblem: complain }) };
    sliders.mark(fit.expression);
    sliders.set(fit.expression);
    ready(true);
    describe(fit);
    await showMesh(glb, fit);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    complain(problem);
    say("No face fitted.");
    if (problem.status === 422) offerMarking(true);
  } finally {
    if (!signal.aborted) busy(false);
  }
}

async function showMesh(glb, fit) {
  $("zoom").checked = stage.isSmall(fit.camera);
  stage.zoom(fit.camera, $("zoom").checked);
  stage.setLandmarks(fit.landmarks ?? [], $("show-landmarks").checked);
  delete $("layers").dataset.chosen;
  try {
    meshView ??= (await import("./mesh.js")).openMeshView($("mesh"));
    await meshView.load(glb, fit);
    stage.whenFramed(meshView.frame);
    chooseLayer("both");
    if (!still.matches) meshView.sway();
    say("Face fitted. Drag the mesh to turn it; move a slider and the photo follows.");
  } catch (error) {
    console.warn(error);
    chooseLayer("photo");
    say("Face fitted. The 3D view needs WebGL and the bundled library (make page); all else works.");
  }
}

async function onPicture(picture, milliseconds, way) {
  hush();
  await stage.showPicture(picture);
  $("speed").textContent = `${Math.round(milliseconds)} ms by ${way}`;
  if (!acting.playing()) say("The photo follows the sliders.");
}

function chooseLayer(layer) {
  for (const choice of document.querySelectorAll("[name=layer]")) choice.checked = choice.value === layer;
  stage.setLayer(layer);
}

function describe({ rotation, model, digest, landmarks }) {
  const [pitch, yaw, roll] = rotation.map((angle) => `${Math.round((angle * 180) / Math.PI)}°`);
  const seal = (digest ?? model?.digest ?? (typeof model === "string" ? model : "")).slice(0, 12);
  const facts = [
    ["Head", `pitch ${pitch}, yaw ${yaw}, roll ${roll}`],
    ["Photo", `${face.photo.width} × ${face.photo.height}`],
    ["Landmarks", landmarks?.length ?? 0],
    ["Model", seal || "unnamed"],
    ["Answer", "—", "speed"],
  ];
  $("facts").replaceChildren(...facts.map(([term, value, id]) => {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: term }));
    pair.append(Object.assign(document.createElement("dd"), { textContent: value, ...(id && { id }) }));
    return pair;
  }));
}

function ready(on) {
  sliders.enable(on);
  for (const button of [...$("downloads").children, ...$("presets").children]) button.disabled = !on;
  for (const part of ["view-controls", "facts"]) $(part).hidden = !on;
  acting.enable(on);
}

function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function busy(on) {
  $("busy").hidden = !on;
  document.querySelector("main").setAttribute("aria-busy", on);
}

function complain(problem) {
  $("problem-title").textContent = problem instanceof Problem ? problem.title : "";
  $("problem-detail").textContent = problem.message;
  $("problem").hidden = false;
  if (problem.status === 401) $("key-open").classList.add("wanted");
}

function hush() {
  $("problem").hidden = true;
}

function uncompare() {
  $("compare").setAttribute("aria-pressed", "false");
  stage.compare(false);
}

function offerPhotos() {
  const first = (list) => [...(list ?? [])][0];
  $("photo").addEventListener("change", ({ target }) => {
    if (target.files.length) takePhoto(target.files[0]);
    target.value = "";
  });
  $("sample").addEventListener("click", async () => takePhoto(new File([await (await fetch("sample.jpg")).blob()], "sample.jpg", { type: "image/jpeg" })));
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData?.files);
    if (file?.type.startsWith("image/")) takePhoto(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const file = first(event.dataTransfer.files);
    if (!file) return;
    if (face && !file.type.startsWith("image/")) acting.take(file);
    else takePhoto(file);
  });
}

function offerViews() {
  $("layers").addEventListener("change", ({ target }) => {
    $("layers").dataset.chosen = target.value;
    stage.setLayer(target.value);
  });
  $("show-landmarks").addEventListener("change", ({ target }) => stage.setLandmarks(face.fit.landmarks ?? [], target.checked));
  $("zoom").addEventListener("change", ({ target }) => stage.zoom(face.fit.camera, target.checked));
  $("turn").addEventListener("click", () => {
    if ($("mesh").hidden) chooseLayer("both");
    if (still.matches) meshView?.turnBy(0.4, 0);
    else meshView?.sway();
  });
  $("compare").addEventListener("click", ({ target }) => {
    const on = target.getAttribute("aria-pressed") !== "true";
    target.setAttribute("aria-pressed", on);
    stage.compare(on);
  });
}

function offerPresets() {
  const start = (expression) => {
    acting.pause();
    sliders.set(expression);
    move(expression, true);
  };
  const chip = (name, expression) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, disabled: true });
    button.addEventListener("click", () => start(expression()));
    return button;
  };
  const presets = Object.entries(PRESETS).map(([name, expression]) => chip(name, () => complete(expression)));
  $("presets").append(chip("As fitted", () => face.fit.expression), ...presets);
}

function offerDownloads() {
  const attempt = (make) => async ({ target }) => {
    target.disabled = true;
    hush();
    await make().catch(complain);
    target.disabled = !face;
  };
  for (const format of ["obj", "glb"]) {
    $(`download-${format}`).addEventListener("click", attempt(async () => save(await mesh(face.source, format), `${face.photo.name}.${format}`)));
  }
  $("download-coefficients").addEventListener("click", attempt(async () => {
    const { rotation, translation } = face.fit;
    save(JSON.stringify({ expression: sliders.get(), rotation, translation }, null, 2), `${face.photo.name}.json`);
  }));
  $("download-picture").addEventListener("click", attempt(async () => save(await express(fullSize(face), sliders.get()), `${face.photo.name}-acting.jpg`)));
}

/** The file as it came, at its own resolution. */
const fullSize = ({ photo: { original, scale }, source: { box } }) => ({ blob: original, box: box?.map((side) => Math.round(side / scale)) });

/** Lets a person say where the face is. */
function offerMarking(on) {
  $("marking-controls").hidden = !on;
  $("view-controls").hidden = on || !face;
  if (!on) return marker.close();
  chooseLayer("photo");
  stage.showWhole();
  marker.open(photo);
}

function offerMarker() {
  $("mark").addEventListener("click", () => offerMarking(true));
  $("marker-cancel").addEventListener("click", () => offerMarking(false));
  $("marker-use").addEventListener("click", () => takePhoto(photo, marker.box()));
}

function offerKey() {
  $("key-open").addEventListener("click", () => {
    $("key").value = key();
    $("key-dialog").showModal();
  });
  $("key-dialog").addEventListener("close", () => {
    const chosen = $("key-dialog").returnValue;
    if (chosen === "save") keepKey($("key").value.trim());
    if (chosen === "forget") keepKey("");
    $("key-open").classList.remove("wanted");
    if (chosen === "save") hush();
  });
}

async function introduce() {
  const model = await describeModel().catch(() => null);
  const names = model?.expression ?? model?.coefficients ?? model?.names;
  if (Array.isArray(names) && names.some((name) => !NAMES.includes(name))) console.warn("The server names other blendshapes than this page.");
}

offerThemes($("theme"));
offerPhotos();
offerViews();
offerPresets();
offerDownloads();
offerMarker();
offerKey();
$("problem-close").addEventListener("click", hush);
introduce();
