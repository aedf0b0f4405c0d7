// What a visitor takes home: the mesh as fitted, and coefficients and picture as the sliders stand.

import { express, mesh } from "./api.js";

const $ = (id) => document.getElementById(id);

export function offerDownloads({ face, sliders, complain }) {
  const offer = (kind, make) => $(`download-${kind}`).addEventListener("click", async ({ target }) => {
    target.disabled = true;
    await make(face()).catch(complain);
    target.disabled = !face();
  });
  for (const format of ["obj", "glb"]) {
    offer(format, async ({ photo, source }) => save(await mesh(source, format), `${photo.name}.${format}`));
  }
  offer("coefficients", async ({ photo, fit: { rotation, translation } }) => {
    const content = JSON.stringify({ expression: sliders.get(), rotation, translation }, null, 2);
    save(new Blob([content], { type: "application/json" }), `${photo.name}.json`);
  });
  offer("picture", async ({ photo, source }) => save(await express(fullSize(photo, source.box), sliders.get()), `${photo.name}-acting.jpg`));
}

/** The file as it came, at its own resolution. */
const fullSize = ({ original, scale }, box) => ({ blob: original, box: box?.map((side) => Math.round(side / scale)) });

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
