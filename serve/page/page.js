// The page: a photo comes in, its face is fitted, and what the sliders say goes to the mesh and to the photo.

import { offerActing } from "./acting.js";
import { describeModel, keepKey, key, mesh, reconstruct } from "./api.js";
import { complete, NAMES, PRESETS } from "./blendshapes.js";
import { offerDownloads } from "./downloads.js";
import { follow } from "./follow.js";
import { openMarker } from "./marker.js";
import { readPhoto } from "./photo.js";
import { buildSliders } from "./sliders.js";
import { openStage } from "./stage.js";
import { offerThemes } from "./theme.js";
import { offerViews } from "./views.js";

const $ = (id) => document.getElementById(id);
const SAMPLE = { address: "sample.jpg", box: [153, 158, 510, 516] }; // filmed in the synthetic studio: nobody's face

let model = null; // what the server says of itself
let photo = null; // as `readPhoto` gives it
let face = null; // {photo, source, fit, follower}: what the page is about, once the photo is fitted
let meshView = null;
let loading = new AbortController();

const stage = openStage({ view: $("view"), picture: $("picture"), landmarks: $("landmarks"), mesh: $("mesh"), provenance: $("provenance") });
const marker = openMarker({ marker: $("marker"), area: $("marking") });
const views = offerViews({ stage, face: () => face, mesh: () => meshView });
const sliders = buildSliders($("groups"), $("together"), (expression, final) => {
  acting.pause();
  move(expression, final);
});
const acting = offerActing({
  face: () => face, model: () => model, stage, say, complain, busy,
  move(expression, final) {
    sliders.set(expression);
    move(expression, final);
  },
});

/** The mesh at once, the photo as soon as the server has it. */
function move(expression, final) {
  views.uncover();
  meshView?.express(expression);
  face.follower.show(expression, final);
}

/** Takes a new photo, or with a box around the face the one that is there. */
async function takePhoto(file, box) {
  loading.abort();
  const { signal } = (loading = new AbortController());
  acting.close();
  face?.follower.close();
  face = null;
  offerMarking(false);
  ready(false);
  hush();
  busy(true);
  try {
    if (file) photo = await readPhoto(file);
    if (signal.aborted) return;
    welcome(false);
    stage.setPhoto(photo);
    $("mesh").hidden = true;
    await introduced;
    if (!box && model?.detector === false) {
      say("This server finds no faces by itself: show it where the face is.");
      return offerMarking(true);
    }
    say("Fitting the face …");
    const source = { blob: photo.working, box };
    const [fit, glb] = await Promise.all([reconstruct(source, signal), mesh(source, "glb", signal)]);
    fit.expression = complete(fit.expression);
    signal.throwIfAborted();
    face = { photo, source, fit, follower: follow(source, { onPicture, onProblem: complain }) };
    sliders.mark(fit.expression);
    sliders.set(fit.expression);
    describe(fit);
    ready(true);
    await showMesh(glb, fit);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    complain(problem);
    say("No face fitted.");
    if (problem.status === 422) offerMarking(true);
    else welcome(true);
  } finally {
    if (!signal.aborted) busy(false);
  }
}

async function showMesh(glb, fit) {
  views.open(fit);
  try {
    meshView ??= (await import("./mesh.js")).openMeshView($("mesh"));
    await meshView.load(glb, fit);
    stage.whenFramed(meshView.frame);
    views.presentMesh();
    views.offerMesh(true);
    say("Face fitted. Drag the mesh to turn it; move a slider and the photo follows.");
  } catch (error) {
    console.warn(error);
    views.choose("photo");
    views.offerMesh(false);
    say("Face fitted. The 3D view needs WebGL and the bundled library (make page); all else works.");
  }
}

async function onPicture(picture, milliseconds, way) {
  hush();
  await stage.showPicture(picture);
  $("speed").textContent = `${Math.round(milliseconds)} ms by ${way}`;
  if (!acting.playing()) say("The photo follows the sliders.");
}

function describe(fit) {
  const [pitch, yaw, roll] = fit.rotation.map((angle) => `${Math.round((angle * 180) / Math.PI)}°`);
  const facts = [
    ["Head", `pitch ${pitch}, yaw ${yaw}, roll ${roll}`], ["Model", fit.model.slice(0, 10)], ["Answer", "—", "speed"],
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
  acting.enable(on);
  for (const button of [...$("downloads").children, ...$("presets").children]) button.disabled = !on;
  for (const part of ["view-controls", "facts", "downloads"]) $(part).hidden = !on;
}

function welcome(on) {
  $("welcome").hidden = !on;
  $("view").hidden = on;
}

function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function busy(on) {
  $("busy").hidden = !on;
  document.querySelector("main").setAttribute("aria-busy", on);
}

function complain(problem) {
  $("problem-detail").textContent = problem.message;
  $("problem").hidden = false;
  if (problem.status === 401) askForKey();
}

function hush() {
  $("problem").hidden = true;
}

/** Lets a person say where the face is. */
function offerMarking(on) {
  $("marking-controls").hidden = !on;
  $("view-controls").hidden = on || !face;
  if (!on) {
    marker.close();
    if (face) stage.zoom(face.fit.camera, $("zoom").checked);
    return;
  }
  views.choose("photo");
  stage.showWhole();
  marker.open(photo, face?.fit.box);
}

function askForKey() {
  $("key-open").hidden = false;
  $("key").value = key();
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

function offerPhotos() {
  const first = (list) => [...(list ?? [])][0];
  const drag = (on) => document.body.classList.toggle("dragging", on);
  $("photo").addEventListener("change", ({ target }) => {
    if (target.files.length) takePhoto(target.files[0]);
    target.value = "";
  });
  $("sample").addEventListener("click", async () => {
    const content = await (await fetch(SAMPLE.address)).blob();
    takePhoto(new File([content], SAMPLE.address, { type: "image/jpeg" }), SAMPLE.box);
  });
  document.addEventListener("paste", (event) => {
    const file = first(event.clipboardData?.files);
    if (file?.type.startsWith("image/")) takePhoto(file);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drag(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? drag(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drag(false);
    const file = first(event.dataTransfer.files);
    if (!file) return;
    if (face && !file.type.startsWith("image/")) acting.take(file);
    else takePhoto(file);
  });
  $("mark").addEventListener("click", () => offerMarking(true));
  $("marker-cancel").addEventListener("click", () => {
    offerMarking(false);
    if (!face) welcome(true);
  });
  $("marker-use").addEventListener("click", () => takePhoto(null, marker.box()));
}

function offerPresets() {
  const chip = (name, expression) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", () => {
      acting.pause();
      sliders.set(expression());
      move(expression(), true);
    });
    return button;
  };
  const presets = Object.entries(PRESETS).map(([name, expression]) => chip(name, () => complete(expression)));
  $("presets").append(chip("As fitted", () => face.fit.expression), ...presets);
}

function offerKey() {
  $("key-open").addEventListener("click", askForKey);
  $("key-dialog").addEventListener("close", () => {
    const chosen = $("key-dialog").returnValue;
    if (chosen === "save") keepKey($("key").value.trim());
    if (chosen === "forget") keepKey("");
    if (chosen === "save") hush();
  });
}

async function introduce() {
  model = await describeModel().catch(() => null);
  if (!model) return;
  $("key-open").hidden = model.authentication === "off";
  const strange = model.expression_names?.filter((name) => !NAMES.includes(name)) ?? [];
  if (strange.length) complain(new Error(`This page has no slider for ${strange.join(", ")}: it is older than the server.`));
}

offerThemes($("theme"));
offerPhotos();
offerPresets();
offerDownloads({ face: () => face, sliders, complain });
offerKey();
$("problem-close").addEventListener("click", hush);
ready(false);
const introduced = introduce();
