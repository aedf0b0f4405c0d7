// What the stage shows: layers, landmarks, the face alone or the whole photo, the mesh turned, the photo as it was.

const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** `face` gives the fitted face, `mesh` the mesh's view, each null while there is none. */
export function offerViews({ stage, face, mesh }) {
  let chosen = false; // by the visitor, for this photo

  const choose = (layer) => {
    for (const choice of document.querySelectorAll("[name=layer]")) choice.checked = choice.value === layer;
    stage.setLayer(layer);
  };
  const turn = () => {
    if (still.matches) mesh()?.turnBy(0.4, 0);
    else mesh()?.sway();
  };
  const compare = (on) => {
    $("compare").setAttribute("aria-pressed", on);
    stage.compare(on);
  };
  $("layers").addEventListener("change", ({ target }) => {
    chosen = true;
    stage.setLayer(target.value);
  });
  $("show-landmarks").addEventListener("change", ({ target }) => stage.setLandmarks(face().fit.landmarks, target.checked));
  $("zoom").addEventListener("change", ({ target }) => stage.zoom(face().fit.camera, target.checked));
  $("turn").addEventListener("click", () => {
    if ($("mesh").hidden) choose("both");
    turn();
  });
  $("compare").addEventListener("click", ({ target }) => compare(target.getAttribute("aria-pressed") !== "true"));

  return {
    choose,
    /** A new photo, seen whole or near. */
    open({ camera, landmarks }) {
      chosen = false;
      $("zoom").checked = stage.isSmall(camera);
      stage.zoom(camera, $("zoom").checked);
      stage.setLandmarks(landmarks, $("show-landmarks").checked);
    },
    /** The mesh over the photo, turning once where movement is welcome. */
    presentMesh() {
      choose("both");
      if (!still.matches) mesh().sway();
    },
    /** Whether there is a mesh to choose. */
    offerMesh(on) {
      $("layers").disabled = $("turn").disabled = !on;
    },
    /** The face moves: it should be seen, unless the visitor wants the mesh. */
    uncover() {
      if (!chosen && $("view").dataset.layer === "both") choose("photo");
      compare(false);
    },
  };
}
