// The picture with its layers: photo or what was made of it, the mesh's canvas, the landmarks; all show one part of it.

import { cropBounds } from "./projection.js";

const LINES = [ // iBUG's 68 points: jaw, brows, nose, eyes, mouth; true closes the line
  [0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];

export function openStage({ view, picture, landmarks, mesh, provenance }) {
  let [size, shown, original, latest, comparing] = [null, null, "", "", false];
  let [asked, given] = [0, 0]; // pictures on their way to the screen, which must not overtake each other
  let onFrame = () => {};

  const frame = () => {
    if (!size || view.hidden) return;
    const { left, top, width, height } = shown;
    view.style.setProperty("--aspect", width / height);
    Object.assign(picture.style, {
      width: percent(size.width / width), height: percent(size.height / height),
      left: percent(-left / width), top: percent(-top / height),
    });
    landmarks.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
    landmarks.style.setProperty("--stroke", width / 400);
    onFrame(shown, mesh.clientWidth, mesh.clientHeight);
  };
  const present = () => {
    const made = latest && !comparing;
    picture.src = made ? latest : original;
    picture.alt = made ? "The photo with the expression of the sliders, a synthetic picture" : "Your photo";
    provenance.hidden = !made;
  };
  const forget = (address) => address && URL.revokeObjectURL(address);
  new ResizeObserver(frame).observe(view);

  return {
    setPhoto({ working, width, height }) {
      for (const address of [original, latest]) forget(address);
      given = ++asked;
      [size, shown, latest, comparing] = [{ width, height }, { left: 0, top: 0, width, height }, "", false];
      original = URL.createObjectURL(working);
      landmarks.replaceChildren();
      present();
      view.hidden = false;
      frame();
    },
    /** Shows a generated picture in the photo's place, once it can be drawn, so that nothing flickers. */
    async showPicture(blob) {
      const mine = ++asked;
      const address = URL.createObjectURL(blob);
      const ready = Object.assign(new Image(), { src: address });
      try {
        await ready.decode();
      } catch {
        return forget(address);
      }
      if (mine < given) return forget(address);
      given = mine;
      const before = latest;
      latest = address;
      present();
      forget(before);
    },
    compare(on) {
      comparing = on;
      present();
    },
    /** "photo", "both" or "mesh". */
    setLayer(layer) {
      view.dataset.layer = layer;
      mesh.hidden = layer === "photo";
      frame();
    },
    setLandmarks(points, on) {
      landmarks.toggleAttribute("hidden", !on);
      landmarks.replaceChildren(...LINES.map(([first, last, closed]) => {
        const line = document.createElementNS("http://www.w3.org/2000/svg", closed ? "polygon" : "polyline");
        line.setAttribute("points", points.slice(first, last + 1).map((point) => point.join(",")).join(" "));
        return line;
      }));
    },
    /** The face's square alone, or the whole photo. */
    zoom(camera, on) {
      shown = on ? inside(cropBounds(camera), size) : { left: 0, top: 0, ...size };
      frame();
    },
    showWhole() {
      shown = { left: 0, top: 0, ...size };
      frame();
    },
    /** Whether the face is so small in the photo that one wants to come nearer. */
    isSmall: (camera) => cropBounds(camera).width < 0.55 * Math.min(size.width, size.height),
    whenFramed(listener) {
      onFrame = listener;
      frame();
    },
  };
}

const percent = (part) => `${part * 100}%`;

/** The square moved, or cut, to lie inside the photo. */
function inside({ left, top, width, height }, size) {
  const [w, h] = [Math.min(width, size.width), Math.min(height, size.height)];
  return {
    left: Math.min(Math.max(0, left), size.width - w), top: Math.min(Math.max(0, top), size.height - h), width: w, height: h,
  };
}
