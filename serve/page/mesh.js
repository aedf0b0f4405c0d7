// The fitted mesh in 3D, seen by the photo's camera. It rotates about the centre of the head and follows the sliders.

import {
  AmbientLight, Camera, DirectionalLight, GLTFLoader, Group, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, Scene,
  Vector3, WebGLRenderer,
} from "./vendor/three.js";
import { cropBounds, projection } from "./projection.js";

const MAX_ANGLE = 1.3; // radians
const SWING = { seconds: 4.5, yaw: 0.7 }; // duration, and yaw in radians

export function createMeshView(canvas) {
  const renderer = new WebGLRenderer({ canvas, alpha: true, antialias: true });
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  const scene = new Scene();
  const camera = new Camera();
  scene.add(new AmbientLight(0xffffff, 0.5), createLight(2.1, -500, 600, 900), createLight(0.7, 900, 100, 200));
  const userRotation = new Group(); // about the centre of the head, in the camera's axes
  const pose = new Group();
  const headCentre = new Vector3(); // in the model's space
  scene.add(userRotation.add(pose));
  const surface = new MeshStandardMaterial({ vertexColors: true, roughness: 0.8, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
  const wireframe = new MeshBasicMaterial({ wireframe: true, color: 0xffffff, transparent: true, opacity: 0.16 });
  let [face, fittedCamera, swinging, drawing] = [null, null, 0, 0];

  const draw = () => {
    drawing ||= requestAnimationFrame(() => {
      drawing = 0;
      if (face) renderer.render(scene, camera);
    });
  };
  const rotateTo = (yaw, pitch) => {
    userRotation.rotation.set(clampAngle(pitch), clampAngle(yaw), 0);
    draw();
  };
  const stopSwing = () => cancelAnimationFrame(swinging);

  const view = {
    /** Shows a fitted face (.glb) in its fitted pose. */
    async load(glb, fit) {
      const loaded = await new GLTFLoader().parseAsync(await glb.arrayBuffer(), "");
      pose.clear();
      loaded.scene.traverse((node) => (face = node.isMesh ? node : face));
      face.geometry = prepareGeometry(face.geometry);
      face.material = surface;
      face.morphTargetInfluences = undefined; // `blend` applies the blendshapes instead, and updates the normals
      const centre = face.geometry.boundingBox.getCenter(new Vector3());
      const lines = new Mesh(face.geometry, wireframe);
      for (const object of [face, lines]) {
        object.frustumCulled = false;
        object.position.copy(centre).negate();
        pose.add(object);
      }
      headCentre.copy(centre);
      userRotation.rotation.set(0, 0, 0);
      fittedCamera = fit.camera;
      this.setPose(fit);
      return this.setExpression(fit.expression);
    },
    /** Poses the head in the photo's camera. */
    setPose({ rotation, translation: [x, y, z] }) {
      pose.rotation.set(...rotation, "ZYX");
      userRotation.position.copy(headCentre).applyEuler(pose.rotation).add(new Vector3(x, -y, -z));
      draw();
    },
    /** Deforms the mesh by 51 named coefficients. */
    setExpression(expression) {
      if (face) blend(face.geometry, face.morphTargetDictionary ?? {}, expression);
      draw();
    },
    /** Sets the visible region of the photo, and the size of the canvas in CSS pixels. */
    setFrame(region, width, height) {
      if (!fittedCamera || !width) return;
      renderer.setSize(width, height, false);
      const cropWidth = (width * cropBounds(fittedCamera).width) / region.width; // on screen; small faces get fainter lines
      wireframe.opacity = Math.min(0.16, cropWidth / 4500);
      camera.projectionMatrix = new Matrix4().fromArray(projection(fittedCamera, region));
      camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
      draw();
    },
    rotateBy(yaw, pitch) {
      stopSwing();
      rotateTo(userRotation.rotation.y + yaw, userRotation.rotation.x + pitch);
    },
    reset() {
      stopSwing();
      rotateTo(0, 0);
    },
    /** Rotates once to either side and back. */
    swing() {
      stopSwing();
      const startedAt = performance.now();
      const step = (now) => {
        const progress = Math.min(1, (now - startedAt) / 1000 / SWING.seconds);
        const amplitude = SWING.yaw * Math.sin(Math.PI * progress) ** 0.5;
        rotateTo(progress < 1 ? amplitude * Math.sin(2 * Math.PI * progress) : 0, 0);
        if (progress < 1) swinging = requestAnimationFrame(step);
      };
      swinging = requestAnimationFrame(step);
    },
  };
  addPointerControls(canvas, view);
  addKeyboardControls(canvas, view);
  return view;
}

function createLight(intensity, ...position) {
  const light = new DirectionalLight(0xffffff, intensity);
  light.position.set(...position);
  return light;
}

const clampAngle = (angle) => Math.min(MAX_ANGLE, Math.max(-MAX_ANGLE, angle));

/** Converts a geometry to millimetres and stores its neutral shape and blendshapes for `blend`. */
function prepareGeometry(geometry) {
  geometry.scale(1000, 1000, 1000);
  geometry.userData.neutral = geometry.attributes.position.array.slice();
  geometry.userData.targets = (geometry.morphAttributes.position ?? []).map((target) => target.array);
  geometry.morphAttributes = {};
  geometry.computeBoundingBox();
  return geometry;
}

/** Sets the vertices to the neutral shape plus the weighted blendshapes; `indices` maps names to blendshapes. */
function blend(geometry, indices, expression) {
  const { neutral, targets } = geometry.userData;
  const shape = geometry.attributes.position.array;
  shape.set(neutral);
  for (const [name, value] of Object.entries(expression)) {
    const target = targets[indices[name]];
    if (!target || !value) continue;
    for (let i = 0; i < shape.length; i++) shape[i] += value * 1000 * target[i];
  }
  geometry.attributes.position.needsUpdate = true;
  geometry.computeVertexNormals();
}

function addPointerControls(canvas, view) {
  let lastEvent = null;
  canvas.addEventListener("pointerdown", (event) => {
    lastEvent = event;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!lastEvent) return;
    view.rotateBy((event.clientX - lastEvent.clientX) * 0.008, (event.clientY - lastEvent.clientY) * 0.008);
    lastEvent = event;
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (lastEvent = null));
  canvas.addEventListener("dblclick", () => view.reset());
}

function addKeyboardControls(canvas, view) {
  const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Home") view.reset();
    else if (steps[event.key]) view.rotateBy(...steps[event.key]);
    else return;
    event.preventDefault();
  });
}
