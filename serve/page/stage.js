// The stage: the photo or a generated image, the canvas of the mesh and the landmarks, all showing the same region.

import { cropBounds } from "./projection.js";

const LINES = [ // of the 68 iBUG points: jaw, brows, nose, eyes, mouth; true: closed line
  [0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];

export function createStage({ view, image, landmarks, mesh, provenance }) {
  let [size, region, originalUrl, generatedUrl, comparing] = [null, null, "", "", false];
  let [numRequested, shownNumber] = [0, 0]; // so that images which are decoded out of order do not replace newer ones
  let onLayoutChange = () => {};

  const layOut = () => {
    if (!size || view.hidden) return;
    const { left, top, width, height } = region;
    view.style.setProperty("--aspect", width / height);
    Object.assign(image.style, {
      width: percent(size.width / width), height: percent(size.height / height),
      left: percent(-left / width), top: percent(-top / height),
    });
    landmarks.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
    landmarks.style.setProperty("--stroke", width / 400);
    onLayoutChange(region, mesh.clientWidth, mesh.clientHeight);
  };
  const update = () => {
    const showGenerated = generatedUrl && !comparing;
    image.src = showGenerated ? generatedUrl : originalUrl;
    image.alt = showGenerated ? "Your photo with the current expression, a synthetic image" : "Your photo";
    provenance.hidden = !showGenerated;
  };
  const revoke = (url) => url && URL.revokeObjectURL(url);
  new ResizeObserver(layOut).observe(view);

  return {
    setPhoto({ working, width, height }) {
      for (const url of [originalUrl, generatedUrl]) revoke(url);
      shownNumber = ++numRequested;
      [size, region, generatedUrl, comparing] = [{ width, height }, { left: 0, top: 0, width, height }, "", false];
      originalUrl = URL.createObjectURL(working);
      landmarks.replaceChildren();
      update();
      view.hidden = false;
      layOut();
    },
    /** Replaces the photo by a generated image once it is decoded, so that nothing flickers. */
    async showImage(blob) {
      const number = ++numRequested;
      const url = URL.createObjectURL(blob);
      const decoded = Object.assign(new Image(), { src: url });
      try {
        await decoded.decode();
      } catch {
        return revoke(url);
      }
      if (number < shownNumber) return revoke(url);
      shownNumber = number;
      const previousUrl = generatedUrl;
      generatedUrl = url;
      update();
      revoke(previousUrl);
    },
    compare(on) {
      comparing = on;
      update();
    },
    /** "photo", "both" or "mesh". */
    setLayer(layer) {
      view.dataset.layer = layer;
      mesh.hidden = layer === "photo";
      layOut();
    },
    setLandmarks(points, visible) {
      landmarks.toggleAttribute("hidden", !visible);
      landmarks.replaceChildren(...LINES.map(([first, last, closed]) => {
        const line = document.createElementNS("http://www.w3.org/2000/svg", closed ? "polygon" : "polyline");
        line.setAttribute("points", points.slice(first, last + 1).map((point) => point.join(",")).join(" "));
        return line;
      }));
    },
    /** Shows the face's crop only, or the whole photo. */
    zoom(camera, on) {
      region = on ? moveInside(cropBounds(camera), size) : { left: 0, top: 0, ...size };
      layOut();
    },
    showWholePhoto() {
      region = { left: 0, top: 0, ...size };
      layOut();
    },
    /** Whether the face is small in the photo, so that zooming in helps. */
    isSmall: (camera) => cropBounds(camera).width < 0.55 * Math.min(size.width, size.height),
    /** Calls `listener` with the visible region and the canvas size, now and after every change. */
    onLayout(listener) {
      onLayoutChange = listener;
      layOut();
    },
  };
}

const percent = (fraction) => `${fraction * 100}%`;

/** The rectangle moved, or cut, to lie inside the photo. */
function moveInside({ left, top, width, height }, size) {
  const [w, h] = [Math.min(width, size.width), Math.min(height, size.height)];
  return {
    left: Math.min(Math.max(0, left), size.width - w), top: Math.min(Math.max(0, top), size.height - h), width: w, height: h,
  };
}
