// The fitted mesh in 3D, seen by the photo's own camera; it turns about the head's middle and moves with the sliders.

import {
  AmbientLight, Camera, DirectionalLight, GLTFLoader, Group, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, Scene,
  Vector3, WebGLRenderer,
} from "./vendor/three.js";
import { cropBounds, projection } from "./projection.js";

const FURTHEST = 1.3; // radians the head turns to either side
const SWAY = { seconds: 4.5, yaw: 0.7 };

export function openMeshView(canvas) {
  const renderer = new WebGLRenderer({ canvas, alpha: true, antialias: true });
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  const scene = new Scene();
  const camera = new Camera();
  scene.add(new AmbientLight(0xffffff, 0.5), light(2.1, -500, 600, 900), light(0.7, 900, 100, 200));
  const turn = new Group(); // about the head's middle, in the camera's axes
  const pose = new Group(); // as fitted
  scene.add(turn.add(pose));
  const skin = new MeshStandardMaterial({ vertexColors: true, roughness: 0.8, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
  const lines = new MeshBasicMaterial({ wireframe: true, color: 0xffffff, transparent: true, opacity: 0.16 });
  let [face, seenBy, swaying, drawing] = [null, null, 0, 0];

  const draw = () => {
    drawing ||= requestAnimationFrame(() => {
      drawing = 0;
      if (face) renderer.render(scene, camera);
    });
  };
  const turnTo = (yaw, pitch) => {
    turn.rotation.set(limit(pitch), limit(yaw), 0);
    draw();
  };
  const stop = () => cancelAnimationFrame(swaying);

  const view = {
    /** Takes the fitted face (.glb) and where the photo has it. */
    async load(glb, fit) {
      const loaded = await new GLTFLoader().parseAsync(await glb.arrayBuffer(), "");
      pose.clear();
      loaded.scene.traverse((part) => (face = part.isMesh ? part : face));
      face.geometry = movable(face.geometry);
      face.material = skin;
      face.morphTargetInfluences = undefined; // moved here, so that normals follow
      const middle = face.geometry.boundingBox.getCenter(new Vector3());
      const outline = new Mesh(face.geometry, lines);
      for (const part of [face, outline]) {
        part.frustumCulled = false;
        part.position.copy(middle).negate();
        pose.add(part);
      }
      pose.rotation.set(...fit.rotation, "ZYX");
      const [x, y, z] = fit.translation;
      turn.position.copy(middle.applyEuler(pose.rotation)).add(new Vector3(x, -y, -z));
      turn.rotation.set(0, 0, 0);
      seenBy = fit.camera;
      return this.express(fit.expression);
    },
    /** Moves the mesh to 51 named coefficients. */
    express(expression) {
      if (face) blend(face.geometry, face.morphTargetDictionary ?? {}, expression);
      draw();
    },
    /** The part of the photo that the canvas shows, and the canvas's size in CSS pixels. */
    frame(part, width, height) {
      if (!seenBy || !width) return;
      renderer.setSize(width, height, false);
      const shown = (width * cropBounds(seenBy).width) / part.width; // pixels; small faces would be all lines
      lines.opacity = Math.min(0.16, shown / 4500);
      camera.projectionMatrix = new Matrix4().fromArray(projection(seenBy, part));
      camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
      draw();
    },
    turnBy(yaw, pitch) {
      stop();
      turnTo(turn.rotation.y + yaw, turn.rotation.x + pitch);
    },
    reset() {
      stop();
      turnTo(0, 0);
    },
    /** Once to either side and back. */
    sway() {
      stop();
      const began = performance.now();
      const step = (now) => {
        const part = Math.min(1, (now - began) / 1000 / SWAY.seconds);
        const strength = SWAY.yaw * Math.sin(Math.PI * part) ** 0.5;
        turnTo(part < 1 ? strength * Math.sin(2 * Math.PI * part) : 0, 0);
        if (part < 1) swaying = requestAnimationFrame(step);
      };
      swaying = requestAnimationFrame(step);
    },
  };
  turnByPointer(canvas, view);
  turnByKeyboard(canvas, view);
  return view;
}

function light(strength, ...from) {
  const sun = new DirectionalLight(0xffffff, strength);
  sun.position.set(...from);
  return sun;
}

const limit = (angle) => Math.min(FURTHEST, Math.max(-FURTHEST, angle));

/** In millimetres, with the neutral shape kept beside what is drawn. */
function movable(geometry) {
  geometry.scale(1000, 1000, 1000);
  geometry.userData.neutral = geometry.attributes.position.array.slice();
  geometry.userData.targets = (geometry.morphAttributes.position ?? []).map((target) => target.array);
  geometry.morphAttributes = {};
  geometry.computeBoundingBox();
  return geometry;
}

function blend(geometry, places, expression) {
  const { neutral, targets } = geometry.userData;
  const shape = geometry.attributes.position.array;
  shape.set(neutral);
  for (const [name, value] of Object.entries(expression)) {
    const target = targets[places[name]];
    if (!target || !value) continue;
    for (let i = 0; i < shape.length; i++) shape[i] += value * 1000 * target[i];
  }
  geometry.attributes.position.needsUpdate = true;
  geometry.computeVertexNormals();
}

function turnByPointer(canvas, view) {
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    last = event;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    view.turnBy((event.clientX - last.clientX) * 0.008, (event.clientY - last.clientY) * 0.008);
    last = event;
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  canvas.addEventListener("dblclick", () => view.reset());
}

function turnByKeyboard(canvas, view) {
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Home") view.reset();
    else if (steps[event.key]) view.turnBy(...steps[event.key]);
    else return;
    event.preventDefault();
  });
}
