// Downloads: the fitted mesh, and the coefficients and the image of the current slider values.

import { fetchMesh, reenact, reenactWithPhoto } from "./api.js";

const $ = (id) => document.getElementById(id);

export function initDownloads({ face, sliders, controls, showError }) {
  const onClick = (kind, download) => $(`download-${kind}`).addEventListener("click", async ({ target }) => {
    target.disabled = true;
    await download(face()).catch(showError);
    target.disabled = !face();
  });
  for (const format of ["obj", "glb"]) {
    onClick(format, async ({ photo, source }) => save(await fetchMesh(source, format), `${photo.name}.${format}`));
  }
  onClick("coefficients", async ({ photo, fit: { rotation, translation } }) => {
    const content = JSON.stringify({ expression: sliders.get(), rotation, translation }, null, 2);
    save(new Blob([content], { type: "application/json" }), `${photo.name}.json`);
  });
  onClick("image", async ({ photo, source, driving }) => {
    const original = originalSize(photo, source);
    const image = driving ? reenactWithPhoto(original, driving.file, driving.options) : reenact(original, { expression: sliders.get(), ...controls.turn() });
    save(await image, `${photo.name}-reenacted.jpg`);
  });
}

/** The source at the original resolution of the photo. */
const originalSize = ({ original, scale }, { box, face }) =>
  ({ blob: original, box: box?.map((side) => Math.round(side / scale)), face });

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
